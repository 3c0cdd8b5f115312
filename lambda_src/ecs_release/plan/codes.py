"""The stable codes of what the plan finds, each with its title and its sentences.

A code never changes its meaning and is never used again for something else; gaps are room for new ones. Codes that begin with E
block their item, and with it the release; codes that begin with W are warnings. ``docs/errors.md`` explains each, and a test holds
the two in step.
"""

from __future__ import annotations

from ecs_release.plan.problem_codes import PROBLEMS
from ecs_release.plan.warning_codes import WARNINGS

CODES = {**PROBLEMS, **WARNINGS}
