"""What a Lambda worker process runs: AWS's runtime client, on a leash.

Started by path as ``python -P -S .../services/lambda_/worker.py <handler>``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def main(handler: str) -> None:
    """Hold the leash, then become ``awslambdaric``."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "kernel"))
    import leash  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 (in the kernel, not in the zip)

    sys.path[0] = os.getcwd()
    leash.hold()
    from awslambdaric import __main__, lambda_runtime_client  # noqa: PLC0415 (on the path that was just set)

    client = lambda_runtime_client.BaseLambdaRuntimeClient
    call_rapid = client.call_rapid
    address, _, base = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")

    def with_base_path(self: Any, method: str, endpoint: str, *arguments: Any, **named: Any) -> None:
        # its Python half, which reports init errors, takes host and port only
        self.lambda_runtime_address = address
        call_rapid(self, method, f"/{base}{endpoint}", *arguments, **named)

    client.call_rapid = with_base_path
    __main__.main(["awslambdaric", handler])


if __name__ == "__main__":
    main(sys.argv[1])
