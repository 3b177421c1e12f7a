"""The HTTP server of the endpoint, by the standard library: for this device alone, with a bound on everything.

It listens on a loopback address or on a Unix socket. A web page in a browser of the device cannot use it: a request
must name the loopback in its Host header (so a foreign name that resolves to it is refused) and be JSON (which a page
of another origin may not send without a permission that is never given).
"""

import io
import ipaddress
import json
import logging
import os
import signal
import socket
import socketserver
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from device_runner.bundle import Bundle
from device_runner.contract import Ranking
from device_runner.errors import EdgeRecError
from device_runner.golden import check_in_child
from device_runner.ranker import Ranker
from device_runner.recommender import Recommender
from device_runner.serve.endpoint import Endpoint, RequestError, Served
from device_runner.serve.fields import Limits
from device_runner.serve.systemd import notify
from device_runner.two_stage import TwoStage
from device_runner.version import __version__

PORT = 8377
LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})
# Owner and group of a Unix socket may use it.
SOCKET_MODE = 0o660
# Seconds that requests have to end when the server is stopped.
STOP_SECONDS = 5.0
LOG = logging.getLogger("device_runner.serve")


class ServeError(EdgeRecError):
    """The endpoint cannot listen where it was told to."""


@dataclass(frozen=True)
class Address:
    """Where to listen: a loopback address with a port, or a Unix socket.

    Raises:
        ServeError: ``host`` is not a loopback address.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    unix: Path | None = None

    def __post_init__(self) -> None:
        if self.unix is None and not is_loopback(self.host):
            raise ServeError(
                f"{self.host} is not a loopback address, and the endpoint has no protection against other devices; "
                "use 127.0.0.1, ::1 or --socket PATH, and put a web server with TLS and a login in front of it"
            )

    def __str__(self) -> str:
        return (
            f"unix:{self.unix}"
            if self.unix
            else f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        )


def is_loopback(host: str) -> bool:
    """Whether only programs of this device can reach the host, without asking a name server."""
    if host.lower() in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class DeadlineReader(io.RawIOBase):
    """Reads from a socket until a deadline, which a slow client cannot extend by sending a byte now and then."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request did not arrive in time")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One connection, with one request after the other."""

    protocol_version = "HTTP/1.1"
    server_version = f"edgerec/{__version__}"
    sys_version = ""
    server: "Server"

    def setup(self) -> None:
        super().setup()
        self._reader = DeadlineReader(self.connection)
        self.rfile = io.BufferedReader(self._reader)
        self._first = True

    def handle_one_request(self) -> None:
        limits = self.server.endpoint.limits
        self._reader.deadline = time.monotonic() + (limits.seconds if self._first else limits.idle_seconds)
        self._first = False
        if not self._begun():
            self.close_connection = True
            return
        self._reader.deadline = time.monotonic() + limits.seconds
        try:
            super().handle_one_request()
        except (TimeoutError, ConnectionError):
            self.close_connection = True

    def _begun(self) -> bool:
        """Whether a request begins before the connection ends or the deadline passes."""
        try:
            return bool(self.rfile.peek(1))  # type: ignore[attr-defined]
        except (OSError, ValueError):
            return False

    def do_GET(self) -> None:
        self._answer(lambda: b"")

    def do_HEAD(self) -> None:
        """The head of what GET would answer."""
        self._answer(lambda: b"")

    def do_POST(self) -> None:
        self._answer(self._body)

    def _answer(self, body: Callable[[], bytes]) -> None:
        method = "GET" if self.command == "HEAD" else self.command
        try:
            self._check_host()
            document, status = self.server.endpoint.answer(method, self.path, body()), HTTPStatus.OK
        except RequestError as error:
            document, status = {"error": str(error)}, error.status
            self.close_connection = True  # a part of the body may not have been read
        except (TimeoutError, ConnectionError):
            raise
        except Exception:
            LOG.exception("a request failed")
            document, status = (
                {"error": "the request failed; the server's log says why"},
                HTTPStatus.INTERNAL_SERVER_ERROR,
            )
            self.close_connection = True
        self._send(status, document)

    def _check_host(self) -> None:
        hosts = self.headers.get_all("Host", [])
        if len(hosts) > 1:
            raise RequestError(HTTPStatus.BAD_REQUEST, "more than one Host")
        if self.server.address.unix or not hosts:
            return
        host = hosts[0].strip()
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if not is_loopback(name):
            raise RequestError(HTTPStatus.FORBIDDEN, "the Host is not this device's loopback")

    def _body(self) -> bytes:
        kind = self.headers.get_content_type() if self.headers.get("Content-Type") else ""
        if kind != "application/json":
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json")
        if self.headers.get("Transfer-Encoding"):
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length, not chunks")
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) != 1:
            raise RequestError(HTTPStatus.LENGTH_REQUIRED, "send one Content-Length")
        limit = self.server.endpoint.limits.body_bytes
        # isdecimal accepts digits of other scripts, and int() accepts signs and underscores.
        if not (lengths[0].isascii() and lengths[0].isdecimal()) or len(lengths[0]) > 12:
            raise RequestError(HTTPStatus.BAD_REQUEST, "the Content-Length is not a number of bytes")
        size = int(lengths[0])
        if size > limit:
            raise RequestError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has {size:,} bytes, the limit is {limit:,}"
            )
        content = self.rfile.read(size)
        if len(content) != size:
            raise ConnectionError("the client ended in the middle of its request")
        return content

    def _send(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        content = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        self.connection.settimeout(self.server.endpoint.limits.seconds)  # of the whole answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection or self.server.stopping:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, as JSON like all else."""
        self.close_connection = True
        if not hasattr(self, "command") or self.command is None:
            self.command = ""
        if self.request_version == "HTTP/0.9":  # an answer with headers all the same: nothing speaks it any more
            self.request_version = "HTTP/1.0"
        self._send(HTTPStatus(code), {"error": message or HTTPStatus(code).phrase})

    def address_string(self) -> str:
        return "local"

    def log_message(self, form: str, *arguments: Any) -> None:
        """Requests are not logged: a history is the user's own."""


class Server(ThreadingHTTPServer):
    """Serves an endpoint, with at most ``limits.connections`` connections at a time."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, address: Address, endpoint: Endpoint) -> None:
        self.address, self.endpoint, self.stopping = address, endpoint, False
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        place: Any = (address.host.strip("[]"), address.port)
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        if address.unix:
            self.address_family, place = socket.AF_UNIX, str(address.unix)
            _clear_socket(address.unix)
        try:
            super().__init__(place, Handler)
        except OSError as error:
            raise ServeError(f"{address}: cannot listen there ({error.strerror or error})") from None

    def server_bind(self) -> None:
        if self.address.unix is None:
            super().server_bind()
            return
        mask = os.umask(0o777 & ~SOCKET_MODE)  # from its first moment on, nobody else may use it
        try:
            socketserver.TCPServer.server_bind(self)
        finally:
            os.umask(mask)
        self.server_name, self.server_port = "localhost", 0

    def process_request(self, request: Any, client_address: Any) -> None:
        """In the thread that accepts: begin a thread for the connection, or refuse it."""
        with self._changed:
            full = len(self._open) >= self.endpoint.limits.connections
            if not full:
                self._open.add(request)
        if full:
            self._refuse(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOG.exception("a connection failed")

    def stop(self) -> None:
        """Take no more connections, and end those that are open when their request is answered."""
        self.stopping = True
        self.shutdown()
        self.server_close()
        if self.address.unix:
            self.address.unix.unlink(missing_ok=True)
        with self._changed:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RD)  # ends a wait for the next request, not an answer
                except OSError:
                    continue
            self._changed.wait_for(lambda: not self._open, STOP_SECONDS)

    def _refuse(self, request: socket.socket) -> None:
        content = b'{"error": "too many connections; try again"}\n'
        head = (
            f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        )
        try:
            request.settimeout(0)  # one try: the thread that accepts must not wait for a client
            request.send(head.encode() + b"Retry-After: 1\r\nConnection: close\r\n\r\n" + content)
        except OSError:
            pass
        socketserver.TCPServer.shutdown_request(self, request)


@dataclass(frozen=True)
class Source:
    """The files that are served, and how they are loaded.

    Attributes:
        model: a retrieval or a ranking bundle.
        ranker: a ranking bundle that puts in order what ``model`` retrieves.
        candidates: how many items are retrieved for it.
    """

    model: Path
    ranker: Path | None = None
    candidates: int = 100
    backend: str = "auto"
    threads: int = 1

    @property
    def files(self) -> list[Path]:
        """All bundles."""
        return [self.model] if self.ranker is None else [self.model, self.ranker]

    def load(self) -> Served:
        """Load the bundles.

        Raises:
            BundleError, BackendError: one cannot be loaded.
        """
        if self.ranker is not None:
            return TwoStage.load(self.model, self.ranker, self.candidates, self.backend, self.threads)
        if isinstance(Bundle.read(self.model).contract, Ranking):
            return Ranker.load(self.model, self.backend, self.threads)
        return Recommender.load(self.model, self.backend, self.threads)


def _name(served: Served) -> str:
    """The name and the first digits of the fingerprint of each model in service."""
    models: list[Any] = [served.recommender, served.ranker] if isinstance(served, TwoStage) else [served]
    return " and ".join(f"{model.bundle.name} {model.bundle.fingerprint[:12]}" for model in models)


def serve(
    source: Source,
    address: Address,
    limits: Limits | None = None,
    ready: Callable[[Server], None] = lambda _: None,
) -> None:
    """Serve a model until SIGTERM or SIGINT; SIGHUP loads it again, and keeps the one in service if it fails.

    Must be called in the main thread, which alone may take signals.

    Args:
        ready: called once the server listens.

    Raises:
        BundleError, BackendError: a bundle cannot be loaded.
        ServeError: the address is taken.
    """
    with Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        endpoint = Endpoint(source.load(), limits or Limits())
        server = Server(address, endpoint)
        accepting = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        accepting.start()
        try:
            notify("READY=1", f"STATUS=serving {_name(endpoint.served)} on {address}")
            ready(server)
            while signals.wait() == signal.SIGHUP:
                _reload(endpoint, source)
        finally:
            notify("STOPPING=1")
            server.stop()


class Signals:
    """Signals that are waited for, in the order of their arrival, instead of handled wherever the main thread is.

    Blocking them and ``signal.sigwait`` would not do: a thread that numpy has begun earlier does not block them, and a
    signal that it gets would end the process.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers

    def __enter__(self) -> "Signals":
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in self._numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def wait(self) -> int:
        """The number of the next signal."""
        while True:
            number = self._reader.recv(1)[0]
            if number in self._numbers:
                return number


def _reload(endpoint: Endpoint, source: Source) -> None:
    """Put what is now in the files into service, after it gave the right answers in a process of its own."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    try:
        for path in source.files:
            check_in_child(path.resolve(), source.backend)  # first: even reading a hostile file may end a process
        # The one in service ends with its last request, as nothing refers to it any more.
        endpoint.served = source.load()
        LOG.warning("loaded %s again", _name(endpoint.served))
    except EdgeRecError as error:
        LOG.error("the model in service stays: %s", error)
    notify("READY=1")


def _clear_socket(path: Path) -> None:
    """Remove a socket that a server has left behind.

    Raises:
        ServeError: another server listens there, or the file is something else.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ServeError(f"{path}: exists and is not a socket; name another --socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ServeError(f"{path}: cannot be taken over ({error.strerror or error})") from None
    raise ServeError(f"{path}: another server listens there; stop it first")
