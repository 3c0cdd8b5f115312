"""examples/with_terraform: Terraform and releases take turns, and neither undoes the other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_aws.client import LocalAws
from local_aws.estate.observed import Observed, Observer

from scripts.checkout import ROOT
from scripts.terraform import Terraform

EXAMPLE = ROOT / "examples" / "with_terraform"
NAME = "ecs-release-terraform"
OLD, NEW = "busybox:1.36", "busybox:1.37"

_LIFECYCLE = re.compile(r"\n  lifecycle \{\n    ignore_changes = [^\n]+\n  \}\n")
NAMES_A_REVISION = {
    "aws_ecs_service.api": "api",
    "aws_cloudwatch_event_target.nightly": "nightly",
    "aws_scheduler_schedule.hourly": "hourly",
}


def without_ignore_changes(folder: Path) -> Path:
    """A copy of the example that lacks these lines and nothing else."""
    copy = folder / "example"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    services, main = copy / "services.tf", copy / "main.tf"
    text, count = _LIFECYCLE.subn("\n", services.read_text(encoding="utf-8"))
    assert count == len(NAMES_A_REVISION)
    services.write_text(text, encoding="utf-8")
    source = os.path.relpath(ROOT, copy.resolve())
    main.write_text(main.read_text(encoding="utf-8").replace('"../.."', f'"{source}"'), encoding="utf-8")
    return copy


def test_they_take_turns(tmp_path: Path, say: Callable[[str], None]) -> None:
    with LocalAws.start(state_dir=tmp_path / "aws", log=tmp_path / "log") as aws:
        aws.rollouts([{"seconds": 0.5}])
        subnets = aws.client("ec2").describe_subnets()["Subnets"]
        arguments = [
            *("-var", "poll_seconds=1"),
            *("-var", f"subnet_ids={json.dumps([subnet['SubnetId'] for subnet in subnets[:2]])}"),
        ]

        def terraform(log_level: str) -> Terraform:
            values = [*arguments, "-var", f"log_level={log_level}"]
            return Terraform(tmp_path, aws.environment(), values, example=EXAMPLE)

        def look() -> dict[str, Observed]:
            observer = Observer(aws)
            return {
                "api": observer.service(NAME, "api"),
                "nightly": observer.rule(f"{NAME}-nightly"),
                "hourly": observer.schedule(f"{NAME}-hourly"),
            }

        say("terraform apply")
        terraform("info").init()
        terraform("info").apply()
        outputs = terraform("info").outputs()
        manifest = tmp_path / "deployment.yaml"
        manifest.write_text(outputs["manifest"]["value"].replace(OLD, NEW), encoding="utf-8")

        def command(name: str, status: int) -> Any:
            done = subprocess.run(
                [sys.executable, "-m", "ecs_release", name, str(manifest), "--json"],
                env={
                    **os.environ,
                    **aws.environment(),
                    "ECS_RELEASE_STATE_MACHINE_ARN": outputs["state_machine_arn"]["value"],
                },
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == status, done.stdout + done.stderr
            return json.loads(done.stdout)

        say("a release")
        assert command("deploy", 0)["counts"] == {"SUCCEEDED": 3}
        released = look()
        assert all(seen.images[name].endswith(NEW) for name, seen in released.items())
        assert terraform("info").plan() == {}

        say("without ignore_changes the next apply would put the old images back")
        folder = tmp_path / "bare"
        copy = without_ignore_changes(folder)
        shutil.copy(terraform("info").state, folder)
        bare = Terraform(folder, aws.environment(), [*arguments, "-var", "log_level=info"], example=copy)
        bare.init()
        # The module's own files lie somewhere else, seen from the copy.
        own = {a: c for a, c in bare.changes().items() if not a.startswith("module.ecs_release.")}
        undone = {a: c for a, c in own.items() if set(c["actions"]) - {"no-op", "read"}}
        assert undone.keys() == NAMES_A_REVISION.keys()
        for address, name in NAMES_A_REVISION.items():
            assert f":task-definition/{NAME}-{name}:2" in json.dumps(undone[address]["before"])
            assert f":task-definition/{NAME}-{name}:1" in json.dumps(undone[address]["after"])

        say("Terraform changes a variable of the tasks")
        assert set(terraform("debug").plan()) == {
            f'aws_ecs_task_definition.this["{name}"]' for name in ("api", "hourly", "nightly")
        }
        terraform("debug").apply()
        assert look() == released  # what runs, and what is to be started, is as the release left it

        say("the next release takes it up, with the same images")
        plan = command("plan", 3)
        assert plan["counts"] == {"update": 3, "unchanged": 0, "blocked": 0}
        for item in plan["items"]:
            (finding,) = [f for f in item["findings"] if f["code"] == "W233"]
            assert finding["values"]["differences"].endswith("environment LOG_LEVEL")
            assert item["base"] != item["live"]
        assert "debug" not in json.dumps(plan)
        assert command("deploy", 0)["counts"] == {"SUCCEEDED": 3}
        for name, seen in look().items():
            assert seen.images[name].endswith(NEW)
            (container,) = seen.rest["definition"]["containerDefinitions"]
            assert container["environment"] == [{"name": "LOG_LEVEL", "value": "debug"}]
        assert terraform("debug").plan() == {}
        assert command("plan", 0)["counts"] == {"update": 0, "unchanged": 3, "blocked": 0}
