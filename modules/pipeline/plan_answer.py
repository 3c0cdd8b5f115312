# Runs inside the build, between single quotes: write no single quote here.
import base64
import gzip
import json
import pathlib
import sys

path = pathlib.Path("plan.json")
answer = json.loads(path.read_text())
if json.loads(pathlib.Path("invocation.json").read_text()).get("FunctionError"):
    sys.exit("The plan could not be made: " + str(answer.get("errorMessage", answer)))
if "gzip" in answer:  # too large for an answer of a function
    path.write_bytes(gzip.decompress(base64.b64decode(answer["gzip"])))
