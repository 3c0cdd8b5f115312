"""Which additions the embedded AWS is made of.

An addition is the control, or a module of ``services``, with ``def install(server: Server) -> None``. Inside it may

- answer AWS operations itself: ``@server.operation("codecommit", "ListBranches")`` over
  ``def handler(call: Call) -> dict``; ``call.forward()`` asks moto and gives its :class:`Answer`,
  ``raise ApiError("ValidationException", "what is wrong")`` answers an error in the service's own protocol;
- serve a path: ``server.route("/git/", wsgi_application)``;
- run a loop: ``server.background("codepipeline", loop)`` with ``def loop(stop: threading.Event) -> None``;
- clean up: ``server.on_reset(function)``, ``server.on_shutdown(function)``;
- start a process that can't outlive the server: ``server.processes.start([...], ...)``;
- call AWS as an AWS client would: ``server.client("s3", region="us-east-1", account="123456789012")`` (not
  counted, not throttled, no faults);
- be the target of EventBridge rules: ``server.targets["codepipeline"] = function(target, event, call)``; put
  AWS's own events with ``server.put_event(account, region, source, detail_type, detail, resources)``.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from local_aws.kernel.server import Server

PARTS = (
    "control",
    "services.iam",
    "services.s3",
    "services.dynamodb",
    "services.logs",
    "services.cloudwatch",
    "services.lambda_",
    "services.ecs",
    "services.ecr",
    "services.events",
    "services.scheduler",
    "services.sns",
    "services.stepfunctions.executions",
    "services.stepfunctions",
    "services.codecommit",
    "services.codeconnections",
    "services.codebuild",
    "services.codepipeline",
)


def create(port: int, state_dir: Path) -> Server:
    """Make a server with every addition installed; it listens, but serves nothing before ``start()``."""
    server = Server(port, state_dir)
    for part in PARTS:
        importlib.import_module(f"local_aws.{part}").install(server)
    return server
