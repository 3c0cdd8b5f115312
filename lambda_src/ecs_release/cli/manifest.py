"""The commands on a manifest alone: ``validate`` and ``compile``. They work without boto3."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ecs_release.cli.console import Console
from ecs_release.cli.exits import DONE, INVALID
from ecs_release.cli.files import beside, is_device, is_manifest, load_manifest, name_of, stream_at, write
from ecs_release.manifest import Validation, to_document
from ecs_release.manifest.problem import spelled_out


def file_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="the manifest, usually deployment.yaml; - is standard input"
    )


def validate(arguments: argparse.Namespace, console: Console) -> int:
    validation = load_manifest(arguments.file)
    show_problems(validation, arguments.file, console)
    if validation.manifest is None:
        return INVALID
    console.say(_summary(validation, arguments.file))
    return DONE


def compile_arguments(parser: argparse.ArgumentParser) -> None:
    file_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="the JSON file to write; - is standard output",
    )


def compile_manifest(arguments: argparse.Namespace, console: Console) -> int:
    stream = stream_at(arguments.output, console)
    console = beside(stream, console)
    validation = load_manifest(arguments.file)
    show_problems(validation, arguments.file, console)
    if validation.manifest is None:
        return INVALID
    text = json.dumps(to_document(validation.manifest), indent=2, ensure_ascii=False) + "\n"
    if stream is not None:
        write(text, arguments.output, stream)
        return DONE
    if is_the_manifest(arguments.output, "-o", arguments.file, console):
        return INVALID
    try:
        write(text, arguments.output, None)
    except OSError as error:
        console.complain(
            f"{arguments.output} cannot be written: {error.strerror}; choose another place with -o"
        )
        return INVALID
    if not is_device(arguments.output):
        console.say(
            f"{_summary(validation, arguments.file)} Written to {spelled_out(str(arguments.output))}."
        )
    return DONE


def is_the_manifest(path: Path, option: str, file: Path, console: Console) -> bool:
    """Whether what an option names is the manifest itself, with a complaint if so."""
    found = is_manifest(path, file)
    if found:
        console.complain(f"{path} is the manifest itself; choose another place with {option}")
    return found


def show_problems(validation: Validation, file: Path, console: Console) -> None:
    """Every problem with its place, for a person or for a program."""
    _print_problems(validation, name_of(file), console)
    console.result(_as_json(validation))


def _print_problems(validation: Validation, file_name: str, console: Console) -> None:
    problems = [*validation.errors, *validation.warnings]
    for problem in sorted(problems, key=lambda problem: (problem.line, problem.column)):
        console.problem(problem, spelled_out(file_name))
    if validation.errors:
        warnings = f" and {count(len(validation.warnings), 'warning')}" if validation.warnings else ""
        console.say(f"{count(len(validation.errors), 'error')}{warnings}; docs/errors.md explains each code.")


def _summary(validation: Validation, file: Path) -> str:
    items = validation.manifest.items if validation.manifest else ()
    tasks = sum(item.kind == "task" for item in items)
    return (
        f"{spelled_out(name_of(file))} is valid: "
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
