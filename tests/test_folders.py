"""A run's folder: one data set, one process at a time, and nothing half-written (issue 10, items 1, 7, 29, 32, 34)."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import small_recipe
from test_cli import written_recipe

from device_runner.child_process import child_environment
from edgerec import artifact
from edgerec.artifact import new_folder, stamp_of, sweep
from edgerec.data.dataset import Dataset
from edgerec.errors import DataError
from edgerec.pipeline import Run
from edgerec.progress import Progress
from edgerec.recipe import load_recipe
from edgerec.stages.stage import Workspace


@pytest.fixture
def other_purchases(purchases: Path, tmp_path: Path) -> Path:
    """The same tables in another place."""
    return Path(shutil.copytree(purchases, tmp_path / "elsewhere"))


def test_a_folder_belongs_to_one_data_set(run_copy: Path, other_purchases: Path) -> None:
    """Issue 10, item 1: another recipe in the same folder silently replaced the data set."""
    kept = stamp_of(run_copy / "dataset")
    other = Run(small_recipe(other_purchases), run_copy, Progress())
    with pytest.raises(DataError, match=r"belongs to the data set small-grocery, from .*purchases\.csv; .*--force"):
        _ = other.dataset
    named = Run(small_recipe(other_purchases.parent.parent, data={"name": "other"}), run_copy, Progress())
    with pytest.raises(DataError):
        _ = named.dataset
    assert stamp_of(run_copy / "dataset") == kept
    forced = Run(small_recipe(other_purchases), run_copy, Progress(), force=True)
    assert forced.dataset.name == "small-grocery"
    assert stamp_of(run_copy / "dataset") != kept


def test_describing_another_recipe_changes_nothing(run_copy: Path, purchases: Path) -> None:
    """Issue 10, item 1: ``edgerec data describe`` replaced the data set that bundles had been made from."""
    kept = stamp_of(run_copy / "dataset")
    other = Run(small_recipe(purchases, data={"min_item_users": 30}), run_copy, Progress())
    with other.stages.prepared.preview() as dataset:
        looked_at = dataset.items
    assert looked_at < Dataset.load(run_copy / "dataset").items
    assert stamp_of(run_copy / "dataset") == kept


def test_the_spelling_of_a_path_makes_nothing_again(purchases: Path, tmp_path: Path, monkeypatch) -> None:
    """Issue 10, item 32."""
    (tmp_path / "shop").mkdir()
    shutil.copy(purchases / "purchases.csv", tmp_path / "shop" / "t.csv")
    columns = '{ user = "household", item = "product", time = "when" }'
    (tmp_path / "shop" / "r.toml").write_text(f'[data]\npath = "t.csv"\ncolumns = {columns}\n')
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    spellings = [Path("../shop/r.toml"), tmp_path / "shop" / "r.toml", Path("../x/../shop/r.toml")]
    runs = [Run(load_recipe(path), tmp_path / "run", Progress()) for path in spellings]
    assert len({run.stages.measured.key for run in runs}) == 1


HOLDER = """
import sys, time
from pathlib import Path
from filelock import FileLock
with FileLock(Path(sys.argv[1]) / ".lock"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_a_second_process_waits_for_the_first_and_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Issue 10, item 7: two runs in one folder had no lock."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path), "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with Workspace(None, tmp_path, Progress()).locked():
            assert holder.wait() == 0
    assert "in use by another edgerec; waiting for it to end" in capfd.readouterr().err


def test_what_a_folder_was_is_there_until_the_new_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 10, item 7: the old artifact was removed before the new one was in its place."""
    target = tmp_path / "dataset"
    with new_folder(target, {"fingerprint": "old"}) as new:
        (new / "rows").write_text("old")
    rename = Path.rename
    killed = []

    def stop_at_second(self: Path, to: Path) -> Path:
        killed.append(self)
        if len(killed) == 2:
            raise KeyboardInterrupt  # as a kill: nothing of ours runs afterwards but what is patched out below
        return rename(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stop_at_second)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt), new_folder(target, {"fingerprint": "new"}) as new:
            (new / "rows").write_text("new")
    assert not target.exists()
    sweep(tmp_path)
    assert stamp_of(target)["fingerprint"] == "old"
    assert (target / "rows").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_the_stamp_is_written_when_all_else_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 10, item 7: a stamp could reach the disk before the files it vouches for."""
    flushed: list[str] = []
    flush = artifact._flush

    def noted(path: Path, deep: bool = True) -> None:
        flushed.append(path.name)
        stamps = list(tmp_path.rglob(artifact.STAMP))
        assert len(stamps) == (path.name in (artifact.STAMP, tmp_path.name))
        flush(path, deep)

    monkeypatch.setattr(artifact, "_flush", noted)
    with new_folder(tmp_path / "dataset", {"fingerprint": "key"}) as new:
        (new / "inner").mkdir()
        (new / "inner" / "rows").write_text("x")
    assert {"rows", "inner", artifact.STAMP} <= set(flushed)
    assert flushed[-2:] == [artifact.STAMP, tmp_path.name]


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="needs a user who is not root")
def test_a_read_only_folder_with_everything_in_it_can_be_read(run_copy: Path, purchases: Path) -> None:
    """Issue 10, item 34: a read-only file system ended in a traceback."""
    for path in [run_copy, *run_copy.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    program = (
        "import sys, json; from pathlib import Path; from edgerec.pipeline import Run; from edgerec.progress import "
        "Progress; from edgerec.recipe import Recipe; run = Run(Recipe.model_validate_json(sys.stdin.read()), "
        f"Path({str(run_copy)!r}), Progress()); print(run.dataset.items, run.trained, len(run.bundles))"
    )
    recipe = small_recipe(purchases).model_dump_json()
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    for parent in run_copy.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    environment = {**child_environment(), "HOME": "/tmp"}
    done = subprocess.run(
        [*as_nobody, sys.executable, "-c", program], input=recipe, capture_output=True, text=True, env=environment
    )
    for path in [run_copy, *run_copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    if "ModuleNotFoundError" in done.stderr or "Permission denied: '/root" in done.stderr:
        pytest.skip("the interpreter cannot be read by another user")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "4"


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from edgerec.cli.main import main
main(["run", sys.argv[2], "--out", sys.argv[3]])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("removed", "limit"),
    [(("dataset", "trained", "pruned", "bundles"), 10_000), (("trained", "pruned"), 60_000), (("bundles",), 60_000)],
    ids=["preparation", "training", "conversion"],
)
def test_a_disk_that_is_full_is_told_in_one_line_and_nothing_is_lost(
    small_run: Run, run_copy: Path, tmp_path: Path, removed: tuple[str, ...], limit: int
) -> None:
    """Issue 10, item 31: it ended in a traceback. No file may be larger than the limit, as on a disk that is full."""
    for name in removed:
        shutil.rmtree(run_copy / name)
    kept = {
        path: path.read_bytes()
        for path in run_copy.rglob("*")
        if path.is_file() and path.name != ".lock" and path.relative_to(run_copy).parts[0] != "logs"  # begun anew
    }
    recipe = written_recipe(small_run, tmp_path / "recipe.toml")
    command = [sys.executable, "-c", LIMITED, str(limit), str(recipe), str(run_copy)]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment())
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error: ")]) == 1
    assert {path: path.read_bytes() for path in kept} == kept
    left = {path.name for path in run_copy.rglob(".*")} - {".lock"}
    assert left == set()


@pytest.mark.slow
def test_a_conversion_that_is_killed_leaves_no_process_and_no_folder(purchases: Path, tmp_path: Path) -> None:
    """Issue 10, item 29."""
    sections = {"model": {"encoder": "mean"}, "train": {"epochs": 1}, "prune": {"enabled": False}}
    recipe = small_recipe(purchases, **sections, convert={"schemes": ["float32"]}, report={"histories": 10})
    folder = tmp_path / "run"
    _ = Run(recipe, folder, Progress()).trained
    program = (
        "import sys; from pathlib import Path; from edgerec.pipeline import Run; from edgerec.progress import Progress;"
        "from edgerec.recipe import Recipe;"
        f"Run(Recipe.model_validate_json(sys.stdin.read()), Path({str(folder)!r}), Progress()).bundles"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=child_environment()
    )
    assert process.stdin
    process.stdin.write(recipe.model_dump_json().encode())
    process.stdin.close()
    while not converting(folder):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while converting(folder):
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.05)
    assert list(folder.glob(".scratch.*"))
    assert Run(recipe, folder, Progress()).report
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == [".lock"]


def converting(folder: Path) -> list[str]:
    """Command lines of running conversions for this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if "converters.build_process" in text and str(folder) in text:
            found.append(text)
    return found
