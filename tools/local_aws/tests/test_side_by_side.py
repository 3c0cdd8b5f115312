"""Requests that arrive side by side are each answered once: none meets what another one is changing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from local_aws.client import DISTRIBUTION, LocalAws
from roles import policy

TRUST = policy(
    {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
)

# A busy machine takes the processor away in the middle of anything; threads that change every 10 microseconds show the same.
RESTLESS = "import sys; sys.setswitchinterval(1e-5); from local_aws.__main__ import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def restless(tmp_path: Path) -> Iterator[LocalAws]:
    """An embedded AWS whose threads are interrupted all the time."""
    command = [sys.executable, "-c", RESTLESS, "--port", "0", "--state-dir", str(tmp_path), "--until-eof"]
    with subprocess.Popen(
        command, cwd=DISTRIBUTION, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = process.stdout.readline().decode()
        assert said.startswith("local_aws ready on "), said
        yield LocalAws(said.split()[-1])
        process.stdin.close()


def test_no_request_fails_because_another_one_changes_what_it_reads(restless: LocalAws) -> None:
    iam = restless.client("iam", max_pool_connections=16)

    def make_and_read(number: int) -> list[str]:
        name, failed = f"role-{number}", []
        for operation, members in (
            (
                iam.create_role,
                {
                    "AssumeRolePolicyDocument": policy(
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "lambda.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    )
                },
            ),
            (iam.tag_role, {"Tags": [{"Key": "number", "Value": str(number)}]}),
            (iam.get_role, {}),
            (iam.list_attached_role_policies, {}),
        ):
            try:
                operation(RoleName=name, **members)
            except ClientError as error:
                failed.append(str(error))
        return failed

    with ThreadPoolExecutor(16) as pool:
        failures = [text for texts in pool.map(make_and_read, range(200)) for text in texts]
    assert failures == []
    assert restless.count("iam:CreateRole") == 200
