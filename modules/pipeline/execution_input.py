# Runs inside the build, between single quotes: write no single quote here.
import hashlib
import json
import os
import pathlib

env = os.environ
manifest = {
    "bucket": env["ARTIFACT_BUCKET"],
    "key": env["MANIFEST_KEY"],
    "versionId": env["MANIFEST_VERSION_ID"],
    "sha256": hashlib.sha256(pathlib.Path("deployment.json").read_bytes()).hexdigest(),
}
source = {
    "commit": env["COMMIT_ID"],
    "author": env["AUTHOR"],
    "pipelineExecutionId": env["PIPELINE_EXECUTION_ID"],
}
document = {"version": 1, "mode": "deploy", "manifest": manifest, "source": source}
pathlib.Path("execution-input.json").write_text(json.dumps(document))
