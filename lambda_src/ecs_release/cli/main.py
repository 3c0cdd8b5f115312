"""The command ``ecs-release``.

Each command is one entry of `COMMANDS`: its name, what it does in a line, its arguments, and a function that returns the
exit status.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ecs_release.cli import manifest, releases
from ecs_release.cli.console import Console
from ecs_release.cli.exits import FAILED
from ecs_release.errors import EcsReleaseError


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
        console.out.flush()
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
            console.out.flush()
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


COMMANDS: tuple[Command, ...] = (
    Command(
        "validate",
        "Check a manifest and list everything that is wrong with it.",
        manifest.file_argument,
        manifest.validate,
    ),
    Command(
        "compile",
        "Check a manifest and write it as the JSON that a release reads.",
        manifest.compile_arguments,
        manifest.compile_manifest,
    ),
    Command(
        "plan",
        "Show what a manifest would change, and change nothing.",
        releases.plan_arguments,
        releases.plan,
    ),
    Command(
        "deploy",
        "Start a release of a manifest and follow it to its end.",
        releases.deploy_arguments,
        releases.deploy,
    ),
    Command(
        "status",
        "Show a release: every item, its verdict and its reason.",
        releases.status_arguments,
        releases.status,
    ),
    Command("history", "List the releases, newest first.", releases.history_arguments, releases.history),
    Command(
        "rollback",
        "Go back to an earlier state, from the record; Git is not asked.",
        releases.rollback_arguments,
        releases.rollback,
    ),
    Command(
        "unhold",
        "List or lift the holds that a rollback by hand leaves on images.",
        releases.unhold_arguments,
        releases.unhold,
    ),
    Command(
        "repair",
        "Put back what a rollback did not bring back, and leave alone what somebody else has set since.",
        releases.repair_arguments,
        releases.repair,
    ),
)
