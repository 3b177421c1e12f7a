"""``edgerec export web``: a folder that any web server can serve, with the model, the module, and a page."""

import base64
import hashlib
import html
import json
from pathlib import Path

from converters.targets.folder import copy_files, export_folder, require_runtime
from converters.targets.web.litert_js import write_litert_js
from device_runner.bundle import Bundle
from device_runner.contract import Retrieval

HERE = Path(__file__).parent
MODEL = "model.tflite"
IMPORTS = {"@litertjs/core": "./litert/core.js", "@litertjs/wasm-utils": "./litert/wasm-utils.js"}
# What the pages may load: files of their own origin, and WebAssembly. %HASH% is that of the import map.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' '%HASH%'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'"
)


def export_web(model: Path, out: Path, tarballs: Path | None = None) -> Bundle:
    """Write the export of a bundle to the folder ``out``; returns the bundle.

    Args:
        tarballs: folder of the packages of LiteRT.js (see :func:`write_litert_js`).

    Raises:
        BundleError: ``model`` is not a sound bundle.
        ExportError: LiteRT.js does not run its scheme or cannot be fetched, or ``out`` holds something else.
    """
    bundle = Bundle.read(model)
    require_runtime(bundle, "litert", "LiteRT.js")
    retrieval = isinstance(bundle.contract, Retrieval)
    with export_folder(out, "web", bundle) as folder:
        write_litert_js(folder / "litert", tarballs)
        copy_files((HERE / "package").iterdir(), folder / "edgerec")
        (folder / MODEL).write_bytes(model.read_bytes())
        page = HERE / "page"
        pages = ["self-test.html", *(["index.html"] if retrieval else [])]
        texts = {name: _page((page / name).read_text(encoding="utf-8"), bundle) for name in pages}
        if not retrieval:
            texts["index.html"] = texts["self-test.html"]
        for path in page.iterdir():
            if path.suffix != ".html" and path.name != "service-worker.js":
                texts[path.name] = path.read_text(encoding="utf-8")
        texts["README.md"] = _readme(bundle)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        worker = (page / "service-worker.js").read_text(encoding="utf-8")
        (folder / "service-worker.js").write_text(_worker(worker, folder), encoding="utf-8")
    return bundle


def _page(text: str, bundle: Bundle) -> str:
    """A page with the import map, the content security policy that permits it, and the model's name."""
    imports = json.dumps({"imports": IMPORTS})
    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    policy = POLICY.replace("%HASH%", f"sha256-{digest}")
    return text.replace("%IMPORTS%", imports).replace("%POLICY%", policy).replace("%NAME%", html.escape(bundle.name))


def _worker(text: str, folder: Path) -> str:
    """The service worker with the files that it keeps, and a version that changes with any of them."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size} ".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    # Which of the WebAssembly files the browser needs is known only when the page has run: it adds them itself.
    kept = ["./", *(path.relative_to(folder).as_posix() for path in paths if "wasm" not in path.parts)]
    head = f"const VERSION = {json.dumps(digest.hexdigest()[:16])};\nconst FILES = {json.dumps(kept)};\n"
    return text.replace("/* VERSION and FILES are written here. */\n", head)


def _readme(bundle: Bundle) -> str:
    kind = "recommender" if isinstance(bundle.contract, Retrieval) else "ranker"
    text = (HERE / f"README-{kind}.md").read_text(encoding="utf-8")
    return text.replace("%NAME%", bundle.name).replace("%SCHEME%", bundle.scheme)
