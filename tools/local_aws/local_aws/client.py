"""Start embedded AWS from Python, as tests and the demo do, and talk to its control calls.

::

    with LocalAws.start() as aws:
        ecs = aws.client("ecs")
        aws.rollouts([{"image": "crash", "outcome": "fail"}])
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any, Self

import boto3
from botocore.config import Config

from local_aws.kernel.processes import undisturbed

# A call that lasts so long hangs. botocore's own minute is short on a busy machine: it would send the request again.
HANG_SECONDS = 600

DISTRIBUTION = Path(__file__).resolve().parent.parent
READY_SECONDS = (
    300.0  # for hangs: it takes a few seconds, and a minute where many programs share the processor
)
STOP_SECONDS = 3.0
"""Afterwards it is killed: what it holds is in memory, and its processes end by their leashes."""

# Clients may be used by many threads; a session that makes them may not
# (https://boto3.amazonaws.com/v1/documentation/api/latest/guide/session.html#multithreading-or-multiprocessing-with-sessions).
_MAKING = threading.Lock()


@functools.cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()


class LocalAws:
    """A running embedded AWS.

    Parameters
    ----------
    endpoint
        Such as ``http://127.0.0.1:4566``.
    """

    def __init__(self, endpoint: str, process: subprocess.Popen[bytes] | None = None) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.port = int(self.endpoint.rpartition(":")[2])
        self._process = process
        self._clients: dict[tuple[Any, ...], Any] = {}

    @classmethod
    def start(cls, state_dir: Path | None = None, port: int = 0, log: Path | None = None) -> Self:
        """Start a server in a process of its own, which ends with this one, and wait until it is ready.

        Parameters
        ----------
        state_dir
            Where it keeps its files and Lambda's logs; without one it uses a directory that it removes.
        port
            0 takes a free one.
        log
            File for what the server writes; without one that is shown only if it does not start.

        Raises
        ------
        RuntimeError
            If it does not become ready; the text holds its output.
        """
        command = [sys.executable, "-m", "local_aws", "--port", str(port), "--until-eof"]
        if state_dir is not None:
            command += ["--state-dir", str(state_dir)]
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(log.open("w+b") if log else tempfile.TemporaryFile())  # noqa: SIM115
            process = None
            try:
                # In a session of its own, a terminal's Ctrl-C does not reach it: whoever started it ends it in good order.
                with undisturbed():
                    process = subprocess.Popen(
                        command,
                        cwd=DISTRIBUTION,
                        stdin=subprocess.PIPE,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                deadline = time.monotonic() + READY_SECONDS
                while process.poll() is None and time.monotonic() < deadline:
                    for line in _read(out).splitlines():
                        if line.startswith("local_aws ready on "):
                            return cls(line.rpartition(" ")[2], process)
                    time.sleep(0.05)
                raise RuntimeError(f"embedded AWS did not start:\n{_read(out)}")
            except BaseException:
                # also when the wait was interrupted
                if process is not None:
                    process.kill()
                    process.wait()
                raise

    def stop(self) -> None:
        """End the server that ``start`` started, and with it its Lambda workers."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def environment(self, region: str = "us-east-1") -> dict[str, str]:
        """Return the environment variables with which any AWS client uses this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
        }

    def client(
        self,
        service: str,
        region: str = "us-east-1",
        credentials: dict[str, Any] | None = None,
        account: str = "",
        **config: Any,
    ) -> Any:
        """Return a boto3 client of this server: of the administrator of an account, the default one where none is given, or
        with credentials of ``sts.assume_role``.

        Who asks for the same gets the same one: a session reads AWS's endpoints, and a client its service's model, a fifth of
        a second each time.
        """
        own = {"AccessKeyId": account or "local", "SecretAccessKey": "local", "SessionToken": None}
        keys = credentials or own
        config.setdefault("retries", {"total_max_attempts": 1})
        config.setdefault("s3", {"addressing_style": "path"})
        config.setdefault("read_timeout", HANG_SECONDS)
        config.setdefault("connect_timeout", HANG_SECONDS)
        config.setdefault("max_pool_connections", 50)
        made_from = (service, region, *keys.values(), repr(sorted(config.items())))
        with _MAKING:
            if made_from not in self._clients:
                self._clients[made_from] = _session().client(
                    service,
                    region_name=region,
                    endpoint_url=self.endpoint,
                    aws_access_key_id=keys["AccessKeyId"],
                    aws_secret_access_key=keys["SecretAccessKey"],
                    aws_session_token=keys["SessionToken"],
                    config=Config(**config),
                )
            return self._clients[made_from]

    def control(self, path: str, body: Any = None) -> Any:
        """Call ``/_local/<path>``: POST with a body, GET without.

        Raises
        ------
        ValueError
            If the server refuses it, with the server's reason.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_local/{path}", data=data)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:  # noqa: S310 (always HTTP)
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["message"]) from None

    def rollouts(self, rules: list[dict[str, Any]]) -> None:
        """Say how rollouts end from now on; see ``POST /_local/rollouts``."""
        self.control("rollouts", rules)

    def faults(self, faults: list[dict[str, Any]]) -> None:
        """Set the faults that calls meet from now on."""
        self.control("faults", faults)

    def limits(self, enabled: bool = True, scale: float = 1) -> None:
        """Switch ECS API throttling on or off."""
        self.control("limits", {"enabled": enabled, "scale": scale})

    def calls(self) -> dict[str, dict[str, int]]:
        """Return counts of calls and throttles per ``service:Operation`` since the last reset."""
        counts: dict[str, dict[str, int]] = self.control("calls")
        return counts

    def count(self, operation: str) -> int:
        """Return how often one operation was called since the last reset."""
        return self.calls().get(operation, {"calls": 0})["calls"]

    def notifications(self) -> list[dict[str, Any]]:
        """Return the messages published to SNS topics since the last reset."""
        published: list[dict[str, Any]] = self.control("notifications")
        return published

    def authorisation(self, enabled: bool) -> None:
        """Switch the look at permissions off, or on again."""
        self.control("iam", {"enabled": enabled})

    def permissions(self) -> dict[str, Any]:
        """Return what was authorised and refused so far, with the policies: see ``services/iam/report.py``."""
        document: dict[str, Any] = self.control("iam")
        return document

    def reset(self) -> None:
        """Back to no rules, faults, limits, counts or notifications."""
        self.control("reset", {})


def _read(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), 65536, 0).decode("utf-8", "replace")
