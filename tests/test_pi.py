"""``edgerec export pi`` and ``edgerec push``: the folder installs for real, here and over a real sshd."""

import getpass
import http.client
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from toys import toys

from converters.targets import pi as target
from converters.targets.folder import ExportError
from converters.targets.pi import export_pi
from converters.targets.push import PushError, Remote
from edgerec.cli.main import main

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "grocery" / "model.tflite"
HISTORY = ROOT / "tests" / "data" / "grocery-history.csv"
PYTHON = ".".join(map(str, sys.version_info[:2]))
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the export of this test is for x86-64")


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of the grocery bundle for this machine."""
    out = tmp_path_factory.mktemp("pi") / "export"
    result = CliRunner().invoke(main, ["export", "pi", str(MODEL), str(out), "--arch", "x86_64", "--python", PYTHON])
    assert result.exit_code == 0, result.output
    return out


def installed(export: Path, *arguments: object, code: int = 0) -> str:
    """What ``install.sh`` says, without this process's environment, and with no index to reach."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    command = [export / "install.sh", "--python", sys.executable, "--no-service", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", timeout=600)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@on_x86_64
def test_the_folder_installs_without_a_network_and_serves(export: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "a folder"
    said = installed(export, "--prefix", prefix)
    assert "5 golden vectors agree" in said
    program = prefix / "venv" / "bin" / "edgerec-device"
    done = subprocess.run(
        [program, "recommend", prefix / "model.tflite", "--history", HISTORY], capture_output=True, env={}
    )
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 10, done.stderr
    server = subprocess.Popen(
        [program, "serve", prefix / "model.tflite", "--port", "0"], stderr=subprocess.PIPE, env={}, text=True
    )
    try:
        assert server.stderr
        port = int(re.search(r":(\d+)$", server.stderr.readline().strip())[1])  # type: ignore[index]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/health")
        assert json.loads(connection.getresponse().read())["status"] == "ok"
    finally:
        server.terminate()
    assert server.wait(10) == 0
    # Again, with a model that does not work: what is in service stays.
    broken = Path(shutil.copytree(export, tmp_path / "broken"))
    (broken / "model.tflite").write_bytes(MODEL.read_bytes()[:-50])
    before = (prefix / "venv").resolve()
    assert "nothing was changed" in installed(broken, "--prefix", prefix, code=1)
    assert (prefix / "venv").resolve() == before and (prefix / "model.tflite").read_bytes() == MODEL.read_bytes()
    assert sorted(path.name for path in prefix.iterdir()) == sorted(["model.tflite", "venv", before.name])


@pytest.mark.slow
@on_x86_64
def test_the_folder_says_what_it_is_and_of_what_size(export: Path) -> None:
    names = [path.name.split("-")[0] for path in sorted((export / "wheels").iterdir())]
    assert names == ["ai_edge_litert", "click", "edgerec", "numpy"]
    assert json.loads((export / "export.json").read_text())["target"] == "pi-x86_64"
    for name, open_places in {"README.md": set(), "install.sh": {"@PREFIX@"}, "edgerec.service": {"@PREFIX@"}}.items():
        assert set(re.findall(r"@[A-Z_]+@", (export / name).read_text())) == open_places, name
    subprocess.run(["sh", "-n", export / "install.sh"], check=True)
    own = next((export / "wheels").glob("edgerec-*.whl")).stat().st_size
    assert own < 1_000_000, f"the wheel of edgerec has {own:,} bytes"


def for_another(export: Path, into: Path, python: str, machine: str) -> Path:
    """A copy of an export that says that it is for another device."""
    shutil.copytree(export, into)
    script = (export / "install.sh").read_text()
    assert script.count(f"{PYTHON} x86_64") == 1 and script.count(f"Python {PYTHON} on x86_64") == 1
    script = script.replace(f"{PYTHON} x86_64", f"{python} {machine}")
    (into / "install.sh").write_text(script.replace(f"Python {PYTHON} on x86_64", f"Python {python} on {machine}"))
    return into


@pytest.mark.slow
@on_x86_64
def test_the_wrong_python_or_architecture_is_refused_before_anything_is_written(export: Path, tmp_path: Path) -> None:
    for version, machine in ((PYTHON, "aarch64"), ("3.8", "x86_64")):
        other = for_another(export, tmp_path / machine, version, machine)
        said = f"for Python {version} on {machine}, but {sys.executable} is Python {PYTHON} on x86_64"
        assert said in installed(other, "--prefix", tmp_path / "prefix", code=1)
    assert not (tmp_path / "prefix").exists()
    assert "unknown argument" in installed(export, "--what", code=1)


class Pip:
    """Stands in for pip, of which the arguments are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[list[str]] = []
        monkeypatch.setattr(target, "_pip", lambda arguments, _: self.calls.append(list(arguments)))


def test_a_32_bit_pi_gets_tflite_runtime_and_the_numpy_of_its_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = Pip(monkeypatch)
    export_pi(toys()["plain"], tmp_path / "out", "armv7l")
    *_, download = pip.calls
    assert "tflite-runtime" in download and not any("numpy" in argument for argument in download)
    assert "--platform=manylinux_2_34_armv7l" in download and "--abi=cp311" in download
    assert "packages=yes" in (tmp_path / "out" / "install.sh").read_text()
    assert "apt install python3-numpy" in (tmp_path / "out" / "README.md").read_text()


def test_a_64_bit_pi_gets_the_version_of_litert_that_the_bundle_was_verified_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = Pip(monkeypatch)
    export_pi(MODEL, tmp_path / "out", "arm64", "3.13")
    *_, download = pip.calls
    assert "ai-edge-litert==2.3.0" in download and "--python-version=3.13" in download
    assert "--platform=manylinux_2_28_aarch64" in download


def test_what_a_device_cannot_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Pip(monkeypatch)
    with pytest.raises(ExportError, match="armv7l runs tflite-runtime; convert the model with another scheme"):
        export_pi(MODEL, tmp_path / "out", "armv7l")
    with pytest.raises(ExportError, match=r"Python 3\.13 on armv7l: .*64-bit system"):
        export_pi(toys()["plain"], tmp_path / "out", "armv7l", "3.13")
    (tmp_path / "edgerec-9.9-py3-none-any.whl").write_bytes(b"")
    with pytest.raises(ExportError, match="not a wheel of edgerec"):
        export_pi(MODEL, tmp_path / "out", wheel=tmp_path / "edgerec-9.9-py3-none-any.whl")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("")
    with pytest.raises(ExportError, match="no earlier export"):
        export_pi(MODEL, tmp_path / "kept")
    assert not (tmp_path / "out").exists()


def test_a_pip_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / f"edgerec-{target.__version__}-py3-none-any.whl").write_bytes(b"")
    facts = {"machine": "riscv64", "runtime": "litert", "pythons": ("3.11",), "requirements": ("edgerec-no-such==1",)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(target.ARCHITECTURES, "arm64", target.Architecture(**facts))  # type: ignore[arg-type]
        patch.setenv("PIP_NO_INDEX", "1")
        with pytest.raises(ExportError, match="cannot be fetched: "):
            export_pi(MODEL, tmp_path / "out", wheel=next(tmp_path.glob("*.whl")))
    assert [path.suffix for path in tmp_path.iterdir()] == [".whl"]


class SshServer:
    """A sshd of the test's own: a free port, its own host key, and one authorized key."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.key = folder / "key"
        for name in ("host", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "key.pub", folder / "authorized")
        for name in ("authorized", "key", "host"):
            (folder / name).chmod(0o600)
        kind, key, *_ = (folder / "host.pub").read_text().split()
        self.known = folder / "known"
        self.known.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        lines = {
            "Port": self.port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PidFile": "none",
            "AuthorizedKeysFile": folder / "authorized", "StrictModes": "no", "UsePAM": "no",
            "PasswordAuthentication": "no", "PermitRootLogin": "prohibit-password", "Subsystem": "sftp internal-sftp",
            # The user's own start-up files must not matter, but the Python of this machine.
            "SetEnv": f"PATH={Path(sys.executable).resolve().parent}:/usr/bin:/bin HOME={folder}",
        }  # fmt: skip
        (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        Path("/run/sshd").mkdir(exist_ok=True)  # where Debian's sshd separates its privileges
        self.log = folder / "log"
        command = [SSHD, "-D", "-f", folder / "config", "-E", self.log]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)

    @property
    def options(self) -> list[str]:
        found = [f"IdentityFile={self.key}", "IdentitiesOnly=yes", f"UserKnownHostsFile={self.known}"]
        return [part for option in found for part in ("--ssh-option", option)]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    if not Path(SSHD).exists() or not shutil.which("ssh-keygen") or os.geteuid() != 0:
        reason = "sshd is not installed, or this is not root: apt install openssh-server"
        if os.environ.get("EDGEREC_SERVERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    server = SshServer(tmp_path_factory.mktemp("sshd"))
    yield server
    server.process.terminate()
    server.process.wait()


def pushed(sshd: SshServer, model: Path, *more: object) -> Result:
    host = f"{getpass.getuser()}@127.0.0.1"
    arguments = ["push", host, str(model), "--port", str(sshd.port), *sshd.options, *map(str, more)]
    return CliRunner().invoke(main, arguments)


@pytest.mark.slow
@on_x86_64
def test_a_push_installs_examines_measures_and_brings_the_report(export: Path, sshd: SshServer, tmp_path: Path) -> None:
    scratch = set(Path("/tmp").glob("tmp.*"))
    more = ["--prefix", tmp_path / "there", "--history", HISTORY, "--runs", 20]
    result = pushed(sshd, export, *more, "--report", tmp_path / "r.json", "--html", tmp_path / "r.html", "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    assert document["doctor"]["healthy"] and document["bench"]["runs"] == 20 and document["bench"]["histories"] == 1
    assert json.loads((tmp_path / "r.json").read_text()) == document["bench"]
    assert "<!doctype html>" in (tmp_path / "r.html").read_text()
    assert (tmp_path / "there" / "venv" / "bin" / "edgerec-device").exists()
    assert set(Path("/tmp").glob("tmp.*")) == scratch  # nothing of the copy is left there


@pytest.mark.slow
@on_x86_64
def test_what_fails_there_is_told_in_one_line(export: Path, sshd: SshServer, tmp_path: Path) -> None:
    broken = for_another(export, tmp_path / "broken", "3.8", "x86_64")
    result = pushed(sshd, broken, "--prefix", tmp_path / "there")
    assert result.exit_code == 1 and "install.sh: this folder is for Python 3.8" in result.stderr.splitlines()[-1]
    (broken / "export.json").write_text(json.dumps({"target": "pi-arm64"}))
    result = pushed(sshd, broken, "--prefix", tmp_path / "there")
    assert "the device needs pi-x86_64" in result.stderr.splitlines()[-1]
    (broken / "export.json").unlink()
    assert "not a folder of edgerec export pi" in pushed(sshd, broken).stderr
    assert not (tmp_path / "there" / "venv").exists()


def test_a_host_that_cannot_be_reached_or_does_not_know_the_key_is_told(sshd: SshServer, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    host = f"{getpass.getuser()}@127.0.0.1"
    options = ["--ssh-option", f"IdentityFile={tmp_path / 'other'}", "--ssh-option", "IdentitiesOnly=yes"]
    options += ["--ssh-option", f"UserKnownHostsFile={sshd.known}"]
    arguments = ["push", host, str(MODEL), "--port", str(sshd.port), *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and "Permission denied" in result.stderr and "try: ssh" in result.stderr
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        result = CliRunner().invoke(main, ["push", host, str(MODEL), "--port", str(free.getsockname()[1])])
    assert result.exit_code == 1 and "refused" in result.stderr


@pytest.mark.parametrize("host", ["-oProxyCommand=touch /tmp/owned", "", "a b"])
def test_a_host_that_is_an_option_is_refused(host: str) -> None:
    with pytest.raises(PushError, match="is not a host"):
        Remote(host)
