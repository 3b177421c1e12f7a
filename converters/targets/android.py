"""Export to Android: a Gradle library module in Kotlin with the bundle among its assets, and a sample app."""

import shutil
import tempfile
from pathlib import Path

from converters.schemes import SCHEMES
from converters.targets.folder import ExportError, filled
from device_runner.bundle import Bundle
from device_runner.contract import Ranking, Retrieval

TEMPLATE = Path(__file__).parent / "android"
ASSETS = Path("recommender", "src", "main", "assets", "edgerec")
# Files in which @NAME@ and the like stand for facts of the bundle.
FILLED = ("README.md", "gradle.properties")
# Name of the library in Gradle -> the runtime on the workstation that runs what it runs (measured for each scheme:
# LiteRT 2.1 like litert, TFLite 2.16 and 2.17 like tflite-runtime), and the library's coordinates.
RUNTIMES = {
    "litert": ("litert", "com.google.ai.edge.litert:litert"),
    "tensorflow-lite": ("tflite-runtime", "org.tensorflow:tensorflow-lite"),
}


def export_android(model: Path, out: Path, ranker: Path | None = None, runtime: str = "litert") -> int:
    """Write the Gradle project with the bundles to the new or empty folder ``out``, whole or not at all.

    Args:
        model: a retrieval bundle.
        ranker: a ranking bundle, for the class ``Ranker``.
        runtime: one of ``RUNTIMES``.

    Returns:
        How many files it has.

    Raises:
        BundleError: a file is not a bundle of its kind.
        ExportError: the runtime does not run a bundle's scheme, or ``out`` is in use.
    """
    bundle = Bundle.read(model)
    bundle.contract_of(Retrieval)
    check_runs(bundle, model, runtime)
    assets = {"model.tflite": model}
    if ranker is not None:
        ranking = Bundle.read(ranker)
        ranking.contract_of(Ranking)
        check_runs(ranking, ranker, runtime)
        assets["ranker.tflite"] = ranker
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out}: exists already and is not an empty folder; name another one")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        made = Path(scratch, "project")
        shutil.copytree(TEMPLATE, made, ignore=shutil.ignore_patterns("build", ".gradle", "__pycache__"))
        for name in FILLED:
            (made / name).write_text(filled((made / name).read_text("utf-8"), bundle, RUNTIME=runtime), "utf-8")
        (made / ASSETS).mkdir(parents=True)
        for name, source in assets.items():
            shutil.copyfile(source, made / ASSETS / name)
        if out.exists():
            out.rmdir()
        made.replace(out)
    return sum(path.is_file() for path in out.rglob("*"))


def check_runs(bundle: Bundle, path: Path, runtime: str) -> None:
    """Refuse a file that the library does not run, or on whose like it was not verified.

    Raises:
        ExportError: says why, and what to do.
    """
    alike, library = RUNTIMES[runtime]
    runs = sorted(name for name, scheme in SCHEMES.items() if alike in scheme.runtimes)
    if bundle.scheme in SCHEMES and alike not in SCHEMES[bundle.scheme].runtimes:
        raise ExportError(
            f"{path}: {library} does not run the scheme {bundle.scheme}; convert the model with {' or '.join(runs)}"
            + ("" if runtime == "litert" else ", or choose --runtime litert")
        )
    if alike not in bundle.runtimes:
        raise ExportError(
            f"{path}: was not verified on {alike}, which stands for {library}; install {alike} and convert it again"
        )
