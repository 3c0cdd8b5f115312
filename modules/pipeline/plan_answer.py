# Runs inside the build, between single quotes: write no single quote here.
import json, pathlib, sys
if json.loads(pathlib.Path("invocation.json").read_text()).get("FunctionError"):
    answer = json.loads(pathlib.Path("plan.json").read_text())
    sys.exit("The plan could not be made: " + str(answer.get("errorMessage", answer)))
