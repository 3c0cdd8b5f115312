"""The commands on releases: they talk to the orchestrator and its record.

They import what they need when they run, so that the command starts at once and ``validate`` works without boto3.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecs_release.cli.console import Console, unbroken
from ecs_release.cli.exits import CHANGES, DONE, FAILED, INVALID
from ecs_release.cli.files import beside, load_manifest, stream_at, write
from ecs_release.cli.manifest import count, file_argument, is_the_manifest, show_problems
from ecs_release.errors import EcsReleaseError
from ecs_release.manifest import to_document

if TYPE_CHECKING:  # it imports boto3
    from ecs_release.cli.orchestrator import Orchestrator


def named(text: str) -> str:
    """The type of an argument that names something.

    An unset shell variable leaves it empty. That is a mistake, and never stands for the newest release or for all items.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("the name is empty; write it, or leave the argument out")
    return text


def machine_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-machine-arn",
        type=named,
        metavar="ARN",
        help="the orchestrator, as the module's output state_machine_arn names it "
        "(default: ECS_RELEASE_STATE_MACHINE_ARN)",
    )


def deploy_arguments(parser: argparse.ArgumentParser) -> None:
    file_argument(parser)
    machine_argument(parser)


def deploy(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli.follow import follow
    from ecs_release.cli.orchestrator import Orchestrator

    validation = load_manifest(arguments.file)
    if validation.manifest is None:
        show_problems(validation, arguments.file, console)
        return FAILED
    orchestrator = Orchestrator.find(arguments.state_machine_arn)
    release, execution = orchestrator.start(to_document(validation.manifest))
    return DONE if follow(orchestrator, release, execution, console) else FAILED


def status_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "release", nargs="?", type=named, metavar="RELEASE", help="a release's id (default: the newest)"
    )
    machine_argument(parser)


def status(arguments: argparse.Namespace, console: Console) -> int:
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


def history_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="how many releases (default: 20)")
    machine_argument(parser)


def history(arguments: argparse.Namespace, console: Console) -> int:
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


def plan_arguments(parser: argparse.ArgumentParser) -> None:
    file_argument(parser)
    parser.add_argument(
        "--html",
        type=Path,
        metavar="PAGE",
        help="also write the plan as a page of its own; - is standard output",
    )
    parser.add_argument("--markdown", action="store_true", help="print it as a comment for a pull request")
    machine_argument(parser)


def plan(arguments: argparse.Namespace, console: Console) -> int:
    import shutil

    from ecs_release.cli.orchestrator import Orchestrator
    from ecs_release.plan.page import page
    from ecs_release.plan.request import Request
    from ecs_release.plan.text import as_lines, as_markdown
    from ecs_release.steps.plan import plan as make_plan

    stream = stream_at(arguments.html, console) if arguments.html else None
    console = beside(stream, console)
    validation = load_manifest(arguments.file)
    if validation.manifest is None:
        show_problems(validation, arguments.file, console)
        return INVALID
    if arguments.html and is_the_manifest(arguments.html, "--html", arguments.file, console):
        return INVALID
    orchestrator = Orchestrator.find(arguments.state_machine_arn)
    store = orchestrator.store()
    document = make_plan(store, orchestrator.reader(store), Request("deploy", validation.manifest))
    console.result(document)
    if arguments.markdown:
        console.say(as_markdown(document))
    else:
        console.say("\n".join(as_lines(document, shutil.get_terminal_size((100, 50)).columns)))
    if arguments.html:
        write(page(document), arguments.html, stream)
    if document["counts"]["blocked"]:
        return INVALID
    return CHANGES if document["counts"]["update"] else DONE


def rollback_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        type=named,
        metavar="RELEASE",
        help="go back to the end of this release (default: to the state before the newest release that changed something)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print from and to, and change nothing")
    parser.add_argument("--yes", action="store_true", help="go ahead without asking")
    machine_argument(parser)


def rollback(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli.follow import follow, lines_of_way_back
    from ecs_release.cli.orchestrator import Orchestrator

    orchestrator = Orchestrator.find(arguments.state_machine_arn)
    if arguments.dry_run:
        from ecs_release.plan.make import plan_rollback, releases_undone

        store = orchestrator.store()
        way = plan_rollback(store, orchestrator.reader(store), releases_undone(store, arguments.to))
        console.result([_back_as_json(planned) for planned in way])
        console.say("\n".join(lines_of_way_back(way)))
        return DONE if not any(planned.lost for planned in way) else FAILED
    if not arguments.yes and not _undoing_is_confirmed(orchestrator, arguments.to, console):
        console.say("Nothing was changed.")
        console.result(None)
        return FAILED
    document: dict[str, Any] = {"version": 1, "mode": "rollback"}
    if arguments.to:
        document["to"] = arguments.to
    release, execution = orchestrator.start(document)
    return DONE if follow(orchestrator, release, execution, console) else FAILED


def _undoing_is_confirmed(orchestrator: Orchestrator, to: str | None, console: Console) -> bool:
    from ecs_release.cli.follow import history_table
    from ecs_release.plan.make import releases_undone

    undone = releases_undone(orchestrator.store(), to)
    console.say("\n".join(history_table(undone, console)))
    return console.confirms(f"Undo {count(len(undone), 'release')}?")


def _back_as_json(planned: Any) -> dict[str, Any]:
    from ecs_release.manifest.item import full_name
    from ecs_release.plan.document import way_back

    alone = [why for why in (planned.superseded, planned.lost) if why]
    return {
        "kind": planned.item.kind,
        "name": planned.item.name,
        "id": full_name(planned.item.key),
        "target": planned.item.target,
        "wave": planned.item.wave,
        "action": "left alone" if alone else planned.action,
        "from": planned.live,
        "to": planned.after or planned.base or None,
        "images": planned.images,
        "wayBack": way_back(planned) if planned.action == "update" else None,
        "warnings": list(planned.warnings),
        "problems": alone,
    }


def unhold_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        type=named,
        metavar="NAME",
        help="items as status names them (default: list the holds)",
    )
    machine_argument(parser)


def unhold(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli.named import named
    from ecs_release.cli.orchestrator import Orchestrator

    store = Orchestrator.find(arguments.state_machine_arn).store()
    holds = store.all_holds()
    keys = [(hold["target"], hold["kind"], hold["name"]) for hold in holds]
    chosen, unknown = named(arguments.names, keys)
    if unknown:
        raise EcsReleaseError(
            f"there is no hold on {', '.join(unknown)}; ecs-release unhold lists the holds."
        )
    lifted = [hold for hold, key in zip(holds, keys, strict=True) if key in chosen]
    for key in chosen:
        store.lift_hold(key)
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


def repair_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        type=named,
        metavar="ITEM",
        help="items as status names them (default: all that were not put back)",
    )
    parser.add_argument(
        "--release", type=named, metavar="RELEASE", help="a release's id (default: the newest)"
    )
    parser.add_argument("--yes", action="store_true", help="go ahead without asking")
    machine_argument(parser)


def repair(arguments: argparse.Namespace, console: Console) -> int:
    from ecs_release.cli import repair as repairing
    from ecs_release.cli.orchestrator import Orchestrator

    worker = repairing.by_hand(Orchestrator.find(arguments.state_machine_arn))
    store = worker.store
    store.check_lock("", 0)
    record = store.release(arguments.release) if arguments.release else next(iter(store.releases(1)), None)
    if record is None:
        named = f"there is no release {arguments.release}; ecs-release history lists them."
        raise EcsReleaseError(named if arguments.release else "nothing was released yet.")
    left = repairing.left_over(record, store.items(record.release), arguments.names)
    repairs = [repairing.look(worker, item) for item in left]
    if not repairs:
        console.say(f"Release {record.release} is {record.status}; nothing of it is left to put back.")
    for one in repairs:
        console.say(unbroken(_repair_line(one)))
    waiting = [one for one in repairs if one.outcome == repairing.TO_DO]
    if waiting:
        question = f"Put {count(len(waiting), 'item')} back?"
        if not arguments.yes and not console.confirms(question):
            console.say("Nothing was changed.")
            console.result([one.as_document() for one in repairs])
            return FAILED
        for place, one in enumerate(repairs):
            if one in waiting:
                repairs[place] = repairing.put_back(worker, one.item)
                console.say(unbroken(_repair_line(repairs[place])))
    console.result([one.as_document() for one in repairs])
    return DONE if all(one.outcome in repairing.GOOD for one in repairs) else FAILED


def _repair_line(repair: Any) -> str:
    from ecs_release.report.notification import in_target

    where = f"{repair.item.state_key[2]}{in_target(repair.item)}"
    live = ", ".join(repair.live) or "?"
    change = live if set(repair.live) == {repair.goal} else f"{live} -> {repair.goal}"
    return f"{repair.outcome:<12} {where}  {change}" + (f"  ({repair.reason})" if repair.reason else "")
