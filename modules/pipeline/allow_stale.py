# Runs inside the build, between single quotes: write no single quote here.
import json
import pathlib
import sys

execution = json.loads(pathlib.Path("pipeline-execution.json").read_text())["pipelineExecution"]
values = [one["resolvedValue"] for one in execution.get("variables", []) if one["name"] == "ALLOW_STALE_PLAN"]
value = values[0] if values else "no"
if value not in ("yes", "no"):
    sys.exit("ALLOW_STALE_PLAN is " + json.dumps(value)[:200] + "; start the pipeline with yes or no.")
pathlib.Path("allow-stale.txt").write_text(value)
