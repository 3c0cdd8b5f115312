"""What ``python3 -I package`` runs: the pipeline's build."""

import sys

from ecs_release.build import main

sys.exit(main(sys.argv[1:]))
