"""The commands on a manifest alone: ``validate`` and ``compile``. They work without boto3."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ecs_release.cli.console import Console
from ecs_release.cli.exits import DONE, INVALID
from ecs_release.manifest import Validation, to_document
from ecs_release.manifest.file import load_file
from ecs_release.manifest.problem import spelled_out


def file_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the manifest, usually deployment.yaml")


def validate(arguments: argparse.Namespace, console: Console) -> int:
    validation = load_file(arguments.file)
    show_problems(validation, arguments.file, console)
    if validation.manifest is None:
        return INVALID
    console.say(_summary(validation, str(arguments.file)))
    return DONE


def compile_arguments(parser: argparse.ArgumentParser) -> None:
    file_argument(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="the JSON file to write"
    )


def compile_manifest(arguments: argparse.Namespace, console: Console) -> int:
    validation = load_file(arguments.file)
    show_problems(validation, arguments.file, console)
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


def show_problems(validation: Validation, file: Path, console: Console) -> None:
    """Every problem with its place, for a person or for a program."""
    _print_problems(validation, str(file), console)
    console.result(_as_json(validation))


def _print_problems(validation: Validation, file_name: str, console: Console) -> None:
    problems = [*validation.errors, *validation.warnings]
    for problem in sorted(problems, key=lambda problem: (problem.line, problem.column)):
        console.problem(problem, spelled_out(file_name))
    if validation.errors:
        warnings = f" and {count(len(validation.warnings), 'warning')}" if validation.warnings else ""
        console.say(f"{count(len(validation.errors), 'error')}{warnings}; docs/errors.md explains each code.")


def _summary(validation: Validation, file_name: str) -> str:
    items = validation.manifest.items if validation.manifest else ()
    tasks = sum(item.kind == "task" for item in items)
    return (
        f"{spelled_out(file_name)} is valid: "
        f"{count(tasks, 'scheduled task')}, {count(len(items) - tasks, 'service')}."
    )


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _as_json(validation: Validation) -> dict[str, Any]:
    """The form of ``schemas/validate.schema.json``."""
    return {
        "valid": validation.manifest is not None,
        "errors": [asdict(problem) for problem in validation.errors],
        "warnings": [asdict(problem) for problem in validation.warnings],
    }
