"""The wheel alone, in a clean environment: what a device installs."""

import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def device_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment with the wheel, without extras."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    (wheel,) = folder.glob("*.whl")
    pip = [programs / "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
    subprocess.run(pip, check=True, capture_output=True)
    return programs


def call(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, env=environment, cwd="/")


@pytest.mark.slow
def test_the_device_install_is_small(device_environment: Path) -> None:
    done = call(device_environment / "pip", "list", "--format", "freeze")
    names = {line.split("==")[0].lower() for line in done.stdout.split()}
    assert {"edgerec", "numpy", "click", "ai-edge-litert"} <= names
    assert not names & {"tensorflow", "tf-keras", "keras", "pandas", "scipy", "duckdb", "pyarrow", "matplotlib"}


@pytest.mark.slow
def test_the_runtime_imports_nothing_but_numpy_and_a_runtime(device_environment: Path) -> None:
    program = "import sys, device_runner; print(*{n.split('.')[0] for n in sys.modules} - set(sys.stdlib_module_names))"
    done = call(device_environment / "python", "-c", program)
    imported = {name for name in done.stdout.split() if not name.startswith("_")}
    assert imported == {"numpy", "device_runner"}, done.stderr


@pytest.mark.slow
def test_recommend_works_and_run_names_the_missing_extra(device_environment: Path) -> None:
    model, history = ROOT / "models/grocery/model.tflite", ROOT / "tests/data/grocery-history.csv"
    done = call(device_environment / "edgerec-device", "recommend", model, "--history", history)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 10), done.stderr
    assert done.stderr == ""
    bench = call(device_environment / "edgerec-device", "bench", model, "--runs", 50)
    assert bench.returncode == 0, bench.stderr
    refused = call(device_environment / "edgerec", "run")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: edgerec run needs the extra [train]")
    # Issue 10, item 22: the line named a package that is on no index.
    (wheel,) = device_environment.parent.parent.glob("*.whl")
    assert f"pip install './{wheel.name}[train]'" in refused.stderr
    assert call(device_environment / "edgerec", "--help").returncode == 0


# What pyproject.toml asks for at least.
LOWEST = ["click==8.1.0", "numpy==1.23.2", "ai-edge-litert==2.1.0"]


@pytest.mark.slow
def test_the_base_install_works_at_its_lowest_declared_versions(
    device_environment: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Issue 10, item 11."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for lowest in LOWEST:
        name, _, version = lowest.partition("==")
        assert any(
            line.replace(" ", "").startswith(f"{name}>={version.removesuffix('.0').removesuffix('.2')}")
            for line in declared
        ), lowest
    folder = tmp_path_factory.mktemp("lowest")
    venv.create(folder / "venv", with_pip=True)
    (wheel,) = device_environment.parent.parent.glob("*.whl")
    pip = [folder / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel, *LOWEST]
    subprocess.run(pip, check=True, capture_output=True)
    model, history = ROOT / "models/grocery/model.tflite", ROOT / "tests/data/grocery-history.csv"
    done = call(folder / "venv" / "bin" / "edgerec-device", "recommend", model, "--history", history)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 10), done.stderr
