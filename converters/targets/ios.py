"""Export to iOS: a Swift package with the bundle among its resources, and a sample app."""

import shutil
from pathlib import Path

from converters.targets.folder import export_folder, filled, require_runtime
from device_runner.bundle import Bundle
from device_runner.contract import Ranking, Retrieval

TEMPLATE = Path(__file__).parent / "ios"
MODELS = Path("Sources", "EdgeRec", "Model")
# The TFLite C library that Package.swift names, and the runtime on the workstation that is the same release of it.
LIBRARY, ALIKE = "TensorFlowLiteC of LiteRT 2.3", "litert"


def export_ios(model: Path, out: Path, ranker: Path | None = None) -> Bundle:
    """Write the Swift package with the bundles to the folder ``out``; returns the bundle of ``model``.

    Args:
        model: a retrieval bundle.
        ranker: a ranking bundle, for the class ``Ranker``.

    Raises:
        BundleError: a file is not a bundle of its kind.
        ExportError: the library does not run a bundle's scheme, or ``out`` holds something else.
    """
    bundles = {"model.tflite": Bundle.read(model)}
    bundles["model.tflite"].contract_of(Retrieval)
    if ranker is not None:
        bundles["ranker.tflite"] = Bundle.read(ranker)
        bundles["ranker.tflite"].contract_of(Ranking)
    for bundle in bundles.values():
        require_runtime(bundle, ALIKE, LIBRARY)
    retrieval = bundles["model.tflite"]
    with export_folder(out, "ios", retrieval) as folder:
        unwanted = shutil.ignore_patterns(".build", ".swiftpm", "__pycache__")
        shutil.copytree(TEMPLATE, folder, ignore=unwanted, dirs_exist_ok=True)
        readme = folder / "README.md"
        readme.write_text(filled(readme.read_text("utf-8"), retrieval), "utf-8")
        (folder / MODELS).mkdir(exist_ok=True)
        for name, bundle in bundles.items():
            shutil.copyfile(bundle.path, folder / MODELS / name)
    return retrieval
