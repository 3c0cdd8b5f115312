# Runs inside the build, between single quotes: write no single quote here.
import hashlib
import json
import os
import pathlib
import sys

env = os.environ
body = pathlib.Path("plan.json").read_bytes()
plan = json.loads(body)
print(pathlib.Path("summary.txt").read_text())
problems = []
for item in plan["items"]:
    problems += [item["name"] + ": " + problem for problem in item["problems"]]
if problems:
    sys.exit("Blocked, so there is nothing to approve:\n" + "\n".join(problems))
document = json.loads(pathlib.Path("execution-input.json").read_text())
document["plan"] = {
    "bucket": env["ARTIFACT_BUCKET"],
    "key": env["PLAN_KEY"],
    "versionId": env["PLAN_VERSION_ID"],
    "sha256": hashlib.sha256(body).hexdigest(),
}
if env["ALLOW_STALE_PLAN"] == "yes":
    document["allowStale"] = True
pathlib.Path("execution-input.json").write_text(json.dumps(document))
pathlib.Path("digest.txt").write_text(plan["digest"])
