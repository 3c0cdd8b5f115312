"""Terraform on ``examples/local``, with its data and state in a folder that the caller names."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from local_aws.client import READY_SECONDS
from local_aws.kernel.processes import Processes

from scripts import checkout
from scripts.checkout import BUILD, ROOT

EXAMPLE = ROOT / "examples" / "local"
SANDBOX = ROOT / "examples" / "sandbox"
Progress = Callable[[str], None]
# Where `make setup` has installed the provider.
_INSTALLED = BUILD / "set-up-terraform" / "providers" / "registry.terraform.io" / "hashicorp" / "aws"

_RESOURCE_DONE = re.compile(r": (Creation|Destruction|Modifications?) complete after ")
_PLANNED = re.compile(r"^Plan: (\d+) to add, (\d+) to change, (\d+) to destroy", re.MULTILINE)


class TerraformError(Exception):
    """Terraform did not do what was asked; the text holds what it said."""


class Terraform:
    """One state of ``examples/local``.

    Parameters
    ----------
    folder
        Where data, state and logs go.
    environment
        With which AWS is reached.
    variables
        Arguments such as ``["-var", "poll_seconds=2"]``.
    example
        The folder of the configuration; another version's ``examples/local`` has another one.
    progress
        Called twice a second with how far it is, such as ``terraform apply: 12 of 66 resources, 9 s``.
    outlives
        Whether what is made lives on after this process, as in an account. When interrupted, Terraform is then waited for, so that
        its state names everything that was made.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        variables: Sequence[str] = (),
        progress: Progress = lambda _: None,
        example: Path = EXAMPLE,
        *,
        outlives: bool = False,
    ) -> None:
        self._outlives = outlives
        self._folder = folder
        self._environment = {
            **checkout.environment(),
            **environment,
            "TF_DATA_DIR": str(folder / "terraform"),
        }
        self._variables = list(variables)
        self._progress = progress
        self._example = example

    @property
    def state(self) -> Path:
        return self._folder / "terraform.tfstate"

    def init(self) -> None:
        """Install the provider."""
        self._run("init", "-input=false")

    def apply(self) -> None:
        """Make what the configuration says."""
        self._run("apply", "-auto-approve", "-input=false", f"-state={self.state}", *self._variables)

    def plan(self) -> dict[str, str]:
        """What apply would change, by address: ``create``, ``update``, ``replace`` or ``delete``.

        https://developer.hashicorp.com/terraform/internals/machine-readable-ui#planned-change
        """
        said = self._run("plan", "-json", "-input=false", f"-state={self.state}", *self._variables)
        changes = [message["change"] for message in _messages(said) if message["type"] == "planned_change"]
        return {c["resource"]["addr"]: c["action"] for c in changes if c["action"] not in ("noop", "read")}

    def changes(self) -> dict[str, dict[str, Any]]:
        """What apply would do, by address, each as ``change`` in the form that ``terraform show -json`` has."""
        file = self._folder / "plan"
        self._run("plan", "-input=false", f"-state={self.state}", f"-out={file}", *self._variables)
        document = self._json("show", "-json", str(file))
        return {change["address"]: change["change"] for change in document["resource_changes"]}

    def destroy(self, *, refresh: bool = True) -> None:
        """Destroy what apply made; without a refresh, what the state says."""
        options = ["-auto-approve", "-input=false", f"-state={self.state}"]
        self._run("destroy", *options, f"-refresh={str(refresh).lower()}", *self._variables)

    def outputs(self) -> dict[str, Any]:
        """What ``terraform output -json`` prints, from the state: Terraform would check its provider of 700 MB first."""
        outputs: dict[str, Any] = json.loads(self.state.read_text())["outputs"]
        return {name: {"sensitive": False, **output} for name, output in sorted(outputs.items())}

    def _json(self, *arguments: str) -> dict[str, Any]:
        command = ["terraform", f"-chdir={self._example}", *arguments]
        answer = subprocess.run(
            command,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if answer.returncode:
            raise TerraformError(f"terraform {arguments[0]} failed:\n{answer.stderr}")
        document: dict[str, Any] = json.loads(answer.stdout)
        return document

    def resources(self) -> list[str]:
        """Addresses of what the state says exists."""
        if not self.state.exists():
            return []
        document = json.loads(self.state.read_text())
        return [
            f"{resource.get('module', '')}.{resource['type']}.{resource['name']}"
            for resource in document["resources"]
            for _ in resource["instances"]
            if resource["mode"] == "managed"
        ]

    def _run(self, *arguments: str) -> str:
        """Run a command to its end and tell how far it is; what it said."""
        log = self._folder / f"terraform-{arguments[0]}.log"
        command = ["terraform", f"-chdir={self._example}", *arguments, "-no-color"]
        began = time.monotonic()

        def tell() -> None:
            done = _how_far(log.read_text(errors="replace"))
            self._progress(f"terraform {arguments[0]}{done}, {time.monotonic() - began:.0f} s")

        with log.open("wb") as output:
            run = self._run_to_its_end if self._outlives else self._run_leashed
            status = run(command, output, tell)
        text = log.read_text(errors="replace")
        if status:
            raise TerraformError(f"{shlex.join(['terraform', arguments[0]])} failed:\n{_complaint(text)}")
        return text

    def _run_leashed(self, command: list[str], output: IO[bytes], tell: Callable[[], None]) -> int:
        """When this process is interrupted, Terraform and its plug-ins are killed.

        What it made is then gone with the embedded AWS, so there is nothing to wait for.
        """
        processes = Processes()
        try:
            child = processes.start(command, env=self._environment, cwd=ROOT, output=output)
            return _wait(child.wait, tell)
        finally:
            processes.close()

    def _run_to_its_end(self, command: list[str], output: IO[bytes], tell: Callable[[], None]) -> int:
        """When this process is interrupted, Terraform comes to its end first, and its state names all that was made.

        Terraform is not told to stop: its provider then breaks off the requests that are under way, and what those make all the
        same is in no state (seen with requests that took seconds: a role, a rule and a cluster were left).
        It is not on a leash either: were this process killed, Terraform would still write down what it made.
        """
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return _wait(process.wait, tell)
        except BaseException:
            _wait(process.wait, tell)
            raise


def _wait(wait: Callable[[float], int], tell: Callable[[], None]) -> int:
    while True:
        try:
            return wait(0.5)
        except subprocess.TimeoutExpired:
            tell()


def _messages(said: str) -> list[dict[str, Any]]:
    """What a command with ``-json`` has printed, message by message."""
    return [json.loads(line) for line in said.splitlines() if line.startswith('{"@level"')]


def _complaint(said: str) -> str:
    """Why a command failed, from all that it printed."""
    wrong = [m["diagnostic"] for m in _messages(said) if m["type"] == "diagnostic" and m["@level"] == "error"]
    if wrong:
        return "\n".join(f"Error: {d['summary']}\n{d['detail']}".strip() for d in wrong)
    found = said.find("\nError: ")
    return (said[found:] if found >= 0 else said[-3000:]).strip()


def _how_far(said: str) -> str:
    """``: 12 of 66 resources``, from what apply or destroy has printed so far."""
    planned = _PLANNED.search(said)
    if planned is None:
        return ""
    total = sum(int(count) for count in planned.groups())
    return f": {len(_RESOURCE_DONE.findall(said))} of {total} resources"


@contextlib.contextmanager
def one_provider(folder: Path, environment: Mapping[str, str], example: Path) -> Iterator[dict[str, str]]:
    """Keep one provider running; with these variables, Terraform takes it at every command and starts none of its own.

    https://developer.hashicorp.com/terraform/plugin/debugging#starting-a-provider-in-debug-mode

    Parameters
    ----------
    folder
        Where its log goes.
    environment
        With which it reaches AWS.
    example
        The folder of the configuration: the provider reads files that are named relative to it.
    """
    program = next(_INSTALLED.glob("*/*/terraform-provider-aws*"), None)
    if program is None:
        yield {}  # Terraform finds its own, or says why not
        return
    env = {**checkout.environment(), **environment}
    env.pop("AWS_CA_BUNDLE", None)  # in this mode it is refused; what is here speaks no TLS
    log = folder / "provider.log"
    processes = Processes()
    found = None
    try:
        with log.open("wb") as output:
            provider = processes.start([str(program), "-debug"], env=env, cwd=example, output=output)
        deadline = time.monotonic() + READY_SECONDS
        while found is None:
            said = log.read_text(errors="replace")
            found = re.search(r"(TF_REATTACH_PROVIDERS)='(.*)'", said)
            if found is None and (not provider.running or time.monotonic() > deadline):
                raise TerraformError(f"the provider did not start:\n{said.strip()}")
            time.sleep(0.02)
        yield {found[1]: found[2]}
    finally:
        processes.close()
        # A provider that is killed leaves its socket.
        for attached in json.loads(found[2]).values() if found else ():
            Path(attached["Addr"]["String"]).unlink(missing_ok=True)


def variables(text: str) -> list[str]:
    """Read the ``TF_VARS=`` of a make command.

    >>> variables("-var poll_seconds=2 -var 'tags={a=\\"b\\"}' name=shop")
    ['-var', 'poll_seconds=2', '-var', 'tags={a="b"}', '-var', 'name=shop']

    Raises
    ------
    ValueError
        for what is no setting.
    """
    words = shlex.split(text)
    result: list[str] = []
    while words:
        word = words.pop(0)
        if word in ("-var", "--var", "-var-file", "--var-file"):
            if not words:
                raise ValueError(
                    f"TF_VARS ends after {word}; write for example TF_VARS='-var poll_seconds=2'."
                )
            result += [word.replace("--", "-", 1), words.pop(0)]
        elif re.match(r"--?var(-file)?=", word):
            result += [word.replace("--", "-", 1)]
        elif re.match(r"\w+=", word):
            result += ["-var", word]
        else:
            raise ValueError(f"TF_VARS holds {word!r}; write for example TF_VARS='-var poll_seconds=2'.")
    return result
