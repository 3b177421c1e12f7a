"""Serves a web export on the loopback, with the types that browsers insist on, and compressed as real servers do."""

import gzip
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from converters.targets.folder import MARK, ExportError
from converters.targets.web.export import export_web

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
    ".tflite": "application/octet-stream",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


@contextmanager
def served(model: Path, port: int = 0) -> Iterator[str]:
    """The address of a page for a bundle, or of a folder that is a web export, for as long as the block lasts.

    Raises:
        BundleError, ExportError: ``model`` is neither, or the port is taken.
    """
    with ExitStack() as stack:
        folder = model
        if model.is_dir():
            if not (model / MARK).is_file():
                raise ExportError(f"{model}: is no export; write one with: edgerec export web MODEL {model}")
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgerec-demo-"))) / "page"
            export_web(model, folder)
        try:
            server = _Server(("127.0.0.1", port), partial(_Handler, directory=str(folder)))
        except OSError as error:
            raise ExportError(
                f"port {port} cannot be used ({error.strerror}); choose another one with --port"
            ) from None
        stack.callback(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        yield f"http://127.0.0.1:{server.server_address[1]}/"


@lru_cache(maxsize=64)
def _compressed(path: Path, changed: int) -> bytes:
    """A file's content by gzip; ``changed``: when, so that another content is read anew."""
    return gzip.compress(path.read_bytes(), 6, mtime=0)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a browser gives up a request."""


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = TYPES

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_dir() and urlsplit(self.path).path.endswith("/"):
            path /= "index.html"
        if "gzip" not in self.headers.get("Accept-Encoding", "") or not path.is_file():
            super().do_GET()
            return
        content = _compressed(path, path.stat().st_mtime_ns)
        tag = f'"{zlib.crc32(content):08x}-{len(content)}"'
        # The service worker asks again for what the page has loaded.
        known = self.headers.get("If-None-Match") == tag
        self.send_response(304 if known else 200)
        self.send_header("ETag", tag)
        if known:
            self.end_headers()
            return
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing about requests."""
