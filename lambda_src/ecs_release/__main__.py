"""``python3 -m ecs_release``: the command without an installation."""

import sys

from ecs_release.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
