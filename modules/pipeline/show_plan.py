# Runs inside the build, between single quotes: write no single quote here.
import os
import sys

sys.path.insert(0, os.environ["PACKAGE"])
from ecs_release.plan.page import main

sys.exit(main(["plan.json", "plan.html", "summary.txt", os.environ["ALLOW_STALE_PLAN"]]))
