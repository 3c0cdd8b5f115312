"""The command ``ecs-release``.

Each command is one entry of `COMMANDS`: its name, what it does in a line, its arguments, and a function that returns the
exit status. The functions import what they need when they run: ``validate`` and ``compile`` work without boto3.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ecs_release.cli.console import Console
from ecs_release.errors import EcsReleaseError
from ecs_release.manifest import Validation, to_document
from ecs_release.manifest.file import load_file
from ecs_release.manifest.problem import spelled_out

# Exit statuses; a command's own ones stand beside it.
DONE = 0

FAILED = 1

INVALID = 2


@dataclass(frozen=True, slots=True)
class Command:
    """One command: ``arguments`` adds its options to a parser, ``run`` does it and returns the exit status."""

    name: str
    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Console], int]


def main(arguments: list[str] | None = None) -> int:
    """Run ``ecs-release`` with ``arguments`` (without the program's name) and return the exit status."""
    parsed = _parser().parse_args(arguments)
    console = Console(json_wanted=parsed.json)
    try:
        status: int = parsed.run(parsed, console)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`); Python must not complain when it flushes at exit.
        _silence_output()
        return FAILED
    except KeyboardInterrupt:
        return 130
    except EcsReleaseError as error:
        console.complain(f"ecs-release: {error}")
        return FAILED
    except OSError as error:  # a file that can't be read or written, or a full disk behind our output
        try:
            sys.stdout.flush()
        except OSError:
            _silence_output()
        where = f"{error.filename}: " if error.filename else ""
        console.complain(f"ecs-release: {where}{error.strerror or error}")
        return FAILED
    except Exception as error:
        # botocore is not imported by validate and compile, so its errors are told by where they come from.
        if not type(error).__module__.startswith("botocore"):
            raise
        console.complain(f"ecs-release: AWS can't be asked: {error}")
        return FAILED
    return status


def _silence_output() -> None:
    """Send what is still to be flushed nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ecs-release",
        description="Release every Amazon ECS service and scheduled task that a manifest names, together.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(command.name, help=command.summary, description=command.summary)
        command.arguments(sub)
        sub.add_argument("--json", action="store_true", help="print JSON for programs instead of text")
        sub.set_defaults(run=command.run)
    return parser


def _file_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the manifest, usually deployment.yaml")


def _validate(arguments: argparse.Namespace, console: Console) -> int:
    validation = load_file(arguments.file)
    _print_problems(validation, str(arguments.file), console)
    console.result(_as_json(validation))
    if validation.manifest is None:
        return INVALID
    console.say(_summary(validation, str(arguments.file)))
    return DONE


def _compile_arguments(parser: argparse.ArgumentParser) -> None:
    _file_argument(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="the JSON file to write"
    )


def _compile(arguments: argparse.Namespace, console: Console) -> int:
    validation = load_file(arguments.file)
    _print_problems(validation, str(arguments.file), console)
    console.result(_as_json(validation))
    if validation.manifest is None:
        return INVALID
    text = json.dumps(to_document(validation.manifest), indent=2, ensure_ascii=False) + "\n"
    if arguments.output.exists() and arguments.output.samefile(arguments.file):
        console.complain(f"{arguments.output} is the manifest itself; choose another place with -o")
        return INVALID
    try:
        _replace(arguments.output, text)
    except OSError as error:
        console.complain(
            f"{arguments.output} cannot be written: {error.strerror}; choose another place with -o"
        )
        return INVALID
    if not _is_device(arguments.output):
        console.say(
            f"{_summary(validation, str(arguments.file))} Written to {spelled_out(str(arguments.output))}."
        )
    return DONE


def _is_device(path: Path) -> bool:
    """Whether a path is one like ``/dev/stdout``: something else than a file in a folder, whatever it leads to."""
    return Path(os.path.abspath(path)).is_relative_to("/dev")  # not resolved: it is a link, to our own output


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all; a link stays, and what it leads to is written."""
    if _is_device(path) or (path.exists() and not path.is_file()):
        path.write_text(text, encoding="utf-8")
        return
    path = path.resolve()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _print_problems(validation: Validation, file_name: str, console: Console) -> None:
    problems = [*validation.errors, *validation.warnings]
    for problem in sorted(problems, key=lambda problem: (problem.line, problem.column)):
        console.problem(problem, spelled_out(file_name))
    if validation.errors:
        warnings = f" and {_count(len(validation.warnings), 'warning')}" if validation.warnings else ""
        console.say(
            f"{_count(len(validation.errors), 'error')}{warnings}; docs/errors.md explains each code."
        )


def _summary(validation: Validation, file_name: str) -> str:
    items = validation.manifest.items if validation.manifest else ()
    tasks = sum(item.kind == "task" for item in items)
    return (
        f"{spelled_out(file_name)} is valid: "
        f"{_count(tasks, 'scheduled task')}, {_count(len(items) - tasks, 'service')}."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _as_json(validation: Validation) -> dict[str, Any]:
    """The form of ``schemas/validate.schema.json``."""
    return {
        "valid": validation.manifest is not None,
        "errors": [asdict(problem) for problem in validation.errors],
        "warnings": [asdict(problem) for problem in validation.warnings],
    }


def _machine_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-machine-arn",
        metavar="ARN",
        help="the orchestrator, as the module's output state_machine_arn names it "
        "(default: ECS_RELEASE_STATE_MACHINE_ARN)",
    )


def _deploy_arguments(parser: argparse.ArgumentParser) -> None:
    _file_argument(parser)
    _machine_argument(parser)


def _deploy(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli.follow import follow
    from ecs_release.cli.orchestrator import Orchestrator

    validation = load_file(arguments.file)
    if validation.manifest is None:
        _print_problems(validation, str(arguments.file), console)
        console.result(_as_json(validation))
        return FAILED
    orchestrator = Orchestrator.find(arguments.state_machine_arn)
    release, execution = orchestrator.start(to_document(validation.manifest))
    return DONE if follow(orchestrator, release, execution, console) else FAILED


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", nargs="?", metavar="RELEASE", help="a release's id (default: the newest)")
    _machine_argument(parser)


def _status(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli.follow import table
    from ecs_release.cli.orchestrator import Orchestrator
    from ecs_release.report.status import as_document

    store = Orchestrator.find(arguments.state_machine_arn).store()
    record = store.release(arguments.release) if arguments.release else next(iter(store.releases(1)), None)
    if record is None:
        if arguments.release:
            raise EcsReleaseError(f"there is no release {arguments.release}; ecs-release history lists them.")
        console.say("Nothing was released yet.")
        console.result(None)
        return DONE
    items, unused = store.items(record.release), store.unused()
    console.result(as_document(record, items, unused))
    console.say("\n".join(table(record, items, console, unused)))
    return DONE


def _history_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="how many releases (default: 20)")
    _machine_argument(parser)


def _history(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli.follow import history_table
    from ecs_release.cli.orchestrator import Orchestrator
    from ecs_release.report.status import as_document

    store = Orchestrator.find(arguments.state_machine_arn).store()
    records, unused = store.releases(max(1, arguments.limit)), store.unused()
    console.result(
        [{k: v for k, v in as_document(record, (), unused).items() if k != "items"} for record in records]
    )
    console.say("\n".join(history_table(records, console)) if records else "Nothing was released yet.")
    return DONE


CHANGES = 3


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    _file_argument(parser)
    parser.add_argument("--html", type=Path, metavar="PAGE", help="also write the plan as a page of its own")
    parser.add_argument("--markdown", action="store_true", help="print it as a comment for a pull request")
    _machine_argument(parser)


def _plan(arguments: argparse.Namespace, console: Console) -> int:
    import shutil

    from ecs_release.cli.orchestrator import Orchestrator
    from ecs_release.plan.page import page
    from ecs_release.plan.request import Request
    from ecs_release.plan.text import as_lines, as_markdown
    from ecs_release.steps.plan import plan

    validation = load_file(arguments.file)
    if validation.manifest is None:
        _print_problems(validation, str(arguments.file), console)
        console.result(_as_json(validation))
        return INVALID
    orchestrator = Orchestrator.find(arguments.state_machine_arn)
    store = orchestrator.store()
    document = plan(store, orchestrator.reader(store), Request("deploy", validation.manifest))
    console.result(document)
    if arguments.markdown:
        console.say(as_markdown(document))
    else:
        console.say("\n".join(as_lines(document, shutil.get_terminal_size((100, 50)).columns)))
    if arguments.html:
        arguments.html.write_text(page(document), encoding="utf-8")
    if document["counts"]["blocked"]:
        return INVALID
    return CHANGES if document["counts"]["update"] else DONE


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        metavar="RELEASE",
        help="go back to the end of this release (default: to the state before the newest release that changed something)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print from and to, and change nothing")
    _machine_argument(parser)


def _rollback(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli.follow import follow, way_back
    from ecs_release.cli.orchestrator import Orchestrator

    orchestrator = Orchestrator.find(arguments.state_machine_arn)
    if arguments.dry_run:
        from ecs_release.plan.make import plan_rollback, releases_undone

        store = orchestrator.store()
        plan = plan_rollback(store, orchestrator.reader(store), releases_undone(store, arguments.to))
        console.result([_back_as_json(planned) for planned in plan])
        console.say("\n".join(way_back(plan)))
        return DONE if not any(planned.problems for planned in plan) else FAILED
    document: dict[str, Any] = {"version": 1, "mode": "rollback"}
    if arguments.to:
        document["to"] = arguments.to
    release, execution = orchestrator.start(document)
    return DONE if follow(orchestrator, release, execution, console) else FAILED


def _back_as_json(planned: Any) -> dict[str, Any]:
    return {
        "kind": planned.item.kind,
        "name": planned.item.name,
        "target": planned.item.target,
        "wave": planned.item.wave,
        "action": "left alone" if planned.superseded else planned.action,
        "from": planned.live,
        "to": planned.after,
        "images": planned.images,
        "problems": [*planned.problems, *([planned.superseded] if planned.superseded else [])],
    }


def _unhold_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="items as status names them (default: list the holds)"
    )
    _machine_argument(parser)


def _unhold(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli.orchestrator import Orchestrator

    store = Orchestrator.find(arguments.state_machine_arn).store()
    holds = store.all_holds()
    unknown = set(arguments.names) - set().union(*map(_names_of, holds))
    if unknown:
        raise EcsReleaseError(
            f"there is no hold on {', '.join(sorted(unknown))}; ecs-release unhold lists the holds."
        )
    lifted = [hold for hold in holds if _names_of(hold) & set(arguments.names)]
    for hold in lifted:
        store.lift_hold((hold["target"], hold["kind"], hold["name"]))
    shown = lifted if arguments.names else holds
    console.result(
        [{key: hold[key] for key in ("target", "kind", "name", "images", "release")} for hold in shown]
    )
    verb = "lifted" if arguments.names else "held"
    for hold in shown:
        console.say(
            f"{verb}: {hold['name']}  {', '.join(hold['images'].values())}  (undone by {hold['release']})"
        )
    if not shown:
        console.say("There are no holds.")
    return DONE


def _repair_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="ITEM",
        help="items as status names them (default: all that were not put back)",
    )
    parser.add_argument("--release", metavar="RELEASE", help="a release's id (default: the newest)")
    parser.add_argument("--yes", action="store_true", help="go ahead without asking")
    _machine_argument(parser)


def _repair(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli import repair as finishing
    from ecs_release.cli.orchestrator import Orchestrator

    worker = finishing.by_hand(Orchestrator.find(arguments.state_machine_arn))
    store = worker.store
    store.check_lock("", 0)
    record = store.release(arguments.release) if arguments.release else next(iter(store.releases(1)), None)
    if record is None:
        named = f"there is no release {arguments.release}; ecs-release history lists them."
        raise EcsReleaseError(named if arguments.release else "nothing was released yet.")
    left = finishing.left_over(record, store.items(record.release), arguments.names)
    repairs = [finishing.look(worker, item) for item in left]
    if not repairs:
        console.say(f"Release {record.release} is {record.status}; nothing of it is left to put back.")
    for repair in repairs:
        console.say(_repair_line(repair))
    waiting = [repair for repair in repairs if repair.outcome == finishing.TO_DO]
    if waiting:
        question = f"Put {_count(len(waiting), 'item')} back?"
        if not arguments.yes and not console.confirms(question):
            console.say("Nothing was changed.")
            console.result([repair.as_document() for repair in repairs])
            return FAILED
        for place, repair in enumerate(repairs):
            if repair in waiting:
                repairs[place] = finishing.put_back(worker, repair.item)
                console.say(_repair_line(repairs[place]))
    console.result([repair.as_document() for repair in repairs])
    return DONE if all(repair.outcome in finishing.GOOD for repair in repairs) else FAILED


def _repair_line(repair: Any) -> str:
    from ecs_release.report.notification import in_target

    where = f"{repair.item.state_key[2]}{in_target(repair.item)}"
    live = ", ".join(repair.live) or "?"
    change = live if set(repair.live) == {repair.goal} else f"{live} -> {repair.goal}"
    return f"{repair.outcome:<12} {where}  {change}" + (f"  ({repair.reason})" if repair.reason else "")


def _names_of(hold: dict[str, Any]) -> set[str]:
    """A hold on one target of a rule is named ``rule#targetId``; status --json has the rule's name."""
    return {hold["name"], hold["name"].partition("#")[0]}


COMMANDS: tuple[Command, ...] = (
    Command(
        "validate", "Check a manifest and list everything that is wrong with it.", _file_argument, _validate
    ),
    Command(
        "compile",
        "Check a manifest and write it as the JSON that a release reads.",
        _compile_arguments,
        _compile,
    ),
    Command("plan", "Show what a manifest would change, and change nothing.", _plan_arguments, _plan),
    Command("deploy", "Start a release of a manifest and follow it to its end.", _deploy_arguments, _deploy),
    Command("status", "Show a release: every item, its verdict and its reason.", _status_arguments, _status),
    Command("history", "List the releases, newest first.", _history_arguments, _history),
    Command(
        "rollback",
        "Go back to an earlier state, from the record; Git is not asked.",
        _rollback_arguments,
        _rollback,
    ),
    Command(
        "unhold",
        "List or lift the holds that a rollback by hand leaves on images.",
        _unhold_arguments,
        _unhold,
    ),
    Command(
        "repair",
        "Put back what a rollback did not bring back, and leave alone what somebody else has set since.",
        _repair_arguments,
        _repair,
    ),
)
