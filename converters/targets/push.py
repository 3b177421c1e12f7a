"""Push an export to a device over ssh: install it there, examine it, measure it, and bring the report back.

The OpenSSH client does the work, so keys, agents, jump hosts and the user's own configuration apply as always.
"""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.targets.folder import MARK, ExportError
from converters.targets.pi import ARCHITECTURES, export_pi
from device_runner.errors import EdgeRecError

# Seconds to connect; and for the longest step, which is the installation on a Raspberry Pi Zero.
CONNECT_LIMIT, STEP_LIMIT = 15, 1800.0
# ssh's own exit code when there is no connection.
NOT_CONNECTED = 255
# Prints the facts of the device, one a line.
PROBE = """
uname -m
python3 -c 'import struct, sys; print(8 * struct.calcsize("P")); print("%d.%d" % sys.version_info[:2])'
id -u
printf '%s\\n' "$HOME"
mktemp -d
"""


class PushError(EdgeRecError):
    """The device cannot be reached, or a step fails there."""


@dataclass(frozen=True)
class Remote:
    """A device by ssh.

    Attributes:
        host: ``user@host``, or a name of the user's ssh configuration.
        port: of sshd; ``None`` for ssh's own choice.
        options: further options of ssh, such as ``IdentityFile=key``, as for its ``-o``.

    Raises:
        PushError: the host looks like an option of ssh.
    """

    host: str
    port: int | None = None
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.host or self.host.startswith("-") or any(character.isspace() for character in self.host):
            raise PushError(f"{self.host!r} is not a host; give one such as pi@raspberrypi.local")

    def run(self, command: str, stdin: str = "", allowed: Sequence[int] = (0,)) -> str:
        """Run a shell command there; what it printed.

        Raises:
            PushError: it ended with a code that is not allowed, or there is no connection.
        """
        return self._call(["ssh", *self._arguments("-p"), self.host, command], command, stdin, allowed)

    def copy(self, source: Path, place: str) -> None:
        """Copy a folder, or a file, to a place there."""
        target = f"{self.host}:{place}"
        self._call(["scp", "-q", "-r", *self._arguments("-P"), str(source), target], f"the copy of {source}", "", (0,))

    def _arguments(self, port: str) -> list[str]:
        # No question can be answered here: a password is asked for by ssh-add or ssh-copy-id before.
        options = ["BatchMode=yes", f"ConnectTimeout={CONNECT_LIMIT}", *self.options]
        return [
            *(part for option in options for part in ("-o", option)),
            *([port, str(self.port)] if self.port else []),
        ]

    def _call(self, command: Sequence[str], what: str, stdin: str, allowed: Sequence[int]) -> str:
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, errors="replace", timeout=STEP_LIMIT
            )
        except FileNotFoundError:
            raise PushError(f"{command[0]} is not installed; install the OpenSSH client") from None
        except subprocess.TimeoutExpired:
            raise PushError(f"{self.host}: {what} had not ended within {STEP_LIMIT:g} seconds") from None
        if done.returncode in allowed:
            return done.stdout
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = said[-1] if said else f"exit code {done.returncode}"
        if done.returncode == NOT_CONNECTED or command[0] == "scp":
            raise PushError(f"{self.host}: {reason}; try: ssh {self.host}")
        raise PushError(f"{self.host}: {reason}")


@dataclass(frozen=True)
class Facts:
    """What the device is.

    Attributes:
        arch: one of ``ARCHITECTURES``.
        python: version of ``python3``, such as ``"3.11"``.
        root: whether the user is root.
        home: folder of the user.
        scratch: a new, empty folder there.
    """

    arch: str
    python: str
    root: bool
    home: str
    scratch: str


def push(
    remote: Remote,
    model: Path,
    service: bool = False,
    prefix: str | None = None,
    history: Path | None = None,
    runs: int = 500,
    wheel: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Install a bundle on a device, and measure it there.

    Args:
        model: a bundle, which is exported for the device's architecture and Python first; or a folder of ``export pi``.
        service: also install the systemd service, with ``sudo`` unless the user is root.
        prefix: folder there; default: ``/opt/edgerec`` with the service or as root, else
            ``~/.local/share/edgerec``.
        history: a file of events to measure with; default: the bundle's golden histories.
        runs: timed calls of the bench.
        wheel: see ``export_pi``.
        say: called with a line before each step.

    Returns:
        ``host``, ``prefix``, ``doctor`` and ``bench``, the two reports as the device printed them.

    Raises:
        PushError: no connection, or a step failed there, or doctor found a problem.
        ExportError: the device's architecture or Python has no runtime.
    """
    say(f"looking at {remote.host}")
    facts = _probe(remote)
    try:
        with tempfile.TemporaryDirectory() as made:
            folder = _folder(model, Path(made, "export"), facts, wheel, say)
            say(f"copying {sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.1f} MB")
            remote.copy(folder, f"{facts.scratch}/edgerec")
        place = prefix or ("/opt/edgerec" if service or facts.root else f"{facts.home}/.local/share/edgerec")
        say(f"installing to {place}")
        sudo = "sudo -n " if service and not facts.root else ""
        more = "" if service else " --no-service"
        remote.run(f"{sudo}{shlex.quote(facts.scratch)}/edgerec/install.sh --prefix {shlex.quote(place)}{more}")
        program = f"{shlex.quote(place)}/venv/bin/edgerec-device"
        installed = f"{shlex.quote(place)}/model.tflite"
        say("examining")
        examined = _document(remote.run(f"{program} doctor {installed} --json", allowed=(0, 1)), "doctor")
        problems = [finding for finding in examined["findings"] if finding["status"] == "problem"]
        if problems:
            raise PushError(f"{remote.host}: {problems[0]['found']}; {problems[0]['remedy']}")
        say("measuring")
        events = ""
        if history:
            events = f"{facts.scratch}/history{history.suffix}"
            remote.copy(history, events)
            events = f" --history {shlex.quote(events)}"
        measured = _document(remote.run(f"{program} bench {installed} --runs {runs}{events} --json"), "bench")
    finally:
        _tidy(remote, facts.scratch)
    return {"host": remote.host, "prefix": place, "doctor": examined, "bench": measured}


def _probe(remote: Remote) -> Facts:
    lines = remote.run("sh -s", PROBE).splitlines()
    if len(lines) != 6 or not lines[5].startswith("/"):
        raise PushError(f"{remote.host}: python3 is not there; sudo apt install python3 python3-venv")
    machine, bits, python, user, home, scratch = lines
    known = {architecture.machine: name for name, architecture in ARCHITECTURES.items()}
    arch = "armv7l" if machine == "aarch64" and bits == "32" else known.get(machine)
    if arch is None:
        _tidy(remote, scratch)
        raise PushError(f"{remote.host}: no TFLite runtime has packages for {machine}; there are {', '.join(known)}")
    return Facts(arch, python, user == "0", home, scratch)


def _folder(model: Path, out: Path, facts: Facts, wheel: Path | None, say: Callable[[str], None]) -> Path:
    """The folder to copy: an export that is there, or one that is made for the device."""
    if not model.is_dir():
        export_pi(model, out, facts.arch, facts.python, wheel, say)
        return out
    try:
        target = json.loads((model / MARK).read_text(encoding="utf-8"))["target"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ExportError(f"{model}: not a folder of edgerec export pi") from None
    if target != f"pi-{facts.arch}":
        raise ExportError(f"{model}: an export for {target}, but the device needs pi-{facts.arch}; export it again")
    return model


def _tidy(remote: Remote, scratch: str) -> None:
    """Remove the folder that was made there; what fails here must not hide why it is called."""
    try:
        remote.run(f"rm -rf {shlex.quote(scratch)}")
    except PushError:
        return


def _document(text: str, command: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise PushError(f"{command} printed no report there")
    return found
