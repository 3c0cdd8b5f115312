"""AWS IAM: every call is authorised, by the policies that moto keeps.

Stands for https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html: identity policies, session
policy, permissions boundary, trust policy, and the policies of buckets, topics, keys, functions, queues and image repositories.

=======================  ===================================================================================
``calls.json``           what a call is authorised as: actions, resources, condition keys, sources
``things.py``            which resources a call is about, and what its condition keys hold
``principals.py``        sessions of roles, services, the administrator at the laptop
``policies_in_force``    which policies have a say
``authority.py``         asks ``kernel/iam`` and answers denials in AWS's words; keeps the record
``simulator.py``         the policy simulator: may a role make a call?
``report.py``            the record: which statements were needed, what was refused
=======================  ===================================================================================

``GET /_local/iam`` is the record; where ``LOCAL_AWS_IAM_RECORD`` names a folder, it is left there at the end as well.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from local_aws.kernel.server import Server
from local_aws.services.iam.authority import Authority
from local_aws.services.iam.simulator import simulate


def install(server: Server) -> None:
    """Ask before each call. The first guard after the one that counts calls, so that refused ones are counted."""
    authority = Authority(server)
    folder = os.environ.get("LOCAL_AWS_IAM_RECORD")
    if folder:

        def keep() -> None:
            path = Path(folder) / f"{os.getpid()}-{server.port}.json"
            path.write_text(json.dumps(authority.document()), encoding="utf-8")

        server.on_shutdown(keep)
    server.add(authority)
    server.guards.insert(1, authority.guard)
    server.operation("sts", "AssumeRole")(authority.assume_role)
    server.operation("iam", "SimulatePrincipalPolicy")(simulate)
