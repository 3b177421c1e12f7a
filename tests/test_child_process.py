"""Processes of our own modules: they report how they ended, have a limit of time, and end with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from device_runner.child_process import call_module, child_environment, run_module


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a program as the module ``child``."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(program: str) -> str:
        (tmp_path / "child.py").write_text(program)
        return "child"

    return write


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("", ""),
        ("import sys; sys.exit(0)", ""),
        ("import sys; sys.exit(3)", "the process ended with code 3"),
        ("raise ValueError('no good')", "ValueError: no good"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process was killed by signal 11"),
    ],
)
def test_one_line_says_how_it_ended(module, program: str, error: str) -> None:
    assert run_module(module(program)) == error


def test_it_runs_as_python_m_runs_it(module) -> None:
    program = "import sys\nif __name__ == '__main__': print(sys.argv[0][-8:], *sys.argv[1:], sys.stdin.read())"
    assert call_module(module(program), 1, Path("a b"), stdin="hello").stdout == "child.py 1 a b hello\n"


def test_a_child_that_does_not_end_is_stopped(module) -> None:
    """Issue 10, item 13."""
    start = time.monotonic()
    error = run_module(module("import time; time.sleep(60)"), time_limit=1)
    assert error == "the process was stopped: it had not ended within 1 seconds"
    assert time.monotonic() - start < 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_ends_with_its_parent(module, tmp_path: Path) -> None:
    """Issue 10, item 29: a killed conversion leaves no process behind."""
    pid_file = tmp_path / "pid"
    name = module(
        "import os, sys, time, pathlib\n"
        "pathlib.Path(sys.argv[1] + '~').write_text(str(os.getpid()))\n"
        "os.rename(sys.argv[1] + '~', sys.argv[1])\n"
        "time.sleep(60)\n"
    )
    program = f"from device_runner.child_process import run_module; run_module({name!r}, {str(pid_file)!r})"
    parent = subprocess.Popen([sys.executable, "-c", program], env=child_environment())
    try:
        assert within(20, pid_file.exists)
    finally:
        parent.kill()
        parent.wait()
    child = int(pid_file.read_text())
    try:
        assert within(10, lambda: not running(child))
    finally:
        if running(child):
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_whose_parent_ended_before_it_began_does_not_begin(module) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    command = [sys.executable, "-m", "device_runner.child_process", str(gone.pid), module("print('began')")]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment())
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


def within(seconds: float, holds) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def running(pid: int) -> bool:
    """Whether the process exists and is not a zombie, which nobody may wait for here."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
