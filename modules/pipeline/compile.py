# Runs inside the build, between single quotes: write no single quote here.
import os
import sys

sys.path.insert(0, os.environ["PACKAGE"])
from ecs_release.cli.main import main

compiled = os.path.abspath("deployment.json")
os.chdir(os.environ["CODEBUILD_SRC_DIR"])  # so that messages name the file as the repository does
sys.exit(main(["compile", os.environ["MANIFEST_FILE"], "-o", compiled]))
