"""What each step calls in a target account, and what AWS authorises each call as, from ``permissions.json``.

Terraform makes the roles from the same file, with the sources beside what is not plain; the session policies are made from this.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

PERMISSIONS: dict[str, Any] = json.loads(
    (files("ecs_release.aws") / "permissions.json").read_text(encoding="utf-8")
)
"""The file: ``calls``, ``steps``, and the ``grants`` that no step calls for."""

AUTHORISED_AS: dict[str, tuple[str, ...]] = {
    call: tuple(known["authorisedAs"]) for call, known in PERMISSIONS["calls"].items()
}
"""Call -> the IAM actions that AWS asks for."""

CALLS: dict[str, tuple[str, ...]] = {
    step: tuple(known["calls"]) for step, known in PERMISSIONS["steps"].items()
}
"""Step -> what it calls in a target account."""

STEPS: dict[str, tuple[str, ...]] = {
    step: tuple(dict.fromkeys(action for call in calls for action in AUTHORISED_AS[call]))
    for step, calls in CALLS.items()
}
"""Step -> the IAM actions it needs in a target account."""

ROLES: dict[str, str] = {
    step: known["role"] for step, known in PERMISSIONS["steps"].items() if "role" in known
}
"""Step -> the role of a target account that it assumes; a step that calls nothing there has none."""
