"""Real database servers for tests: MariaDB and PostgreSQL from Debian's packages, each in a folder of its own.

Where the programs are not installed the tests that need them are skipped, but fail in CI and with EDGEREC_SERVERS=1.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy

# With what a URL has to quote; the tests look for it in everything that is written.
PASSWORD = "s3cret:/@%word"
SECONDS = 60


def program(*names: str) -> str:
    """Path of the first of the programs that is installed."""
    folders = [*os.get_exec_path(), "/usr/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
    for name in names:
        if found := shutil.which(name, path=os.pathsep.join(folders)):
            return found
    reason = f"no {' or '.join(names)} here: apt-get install --no-install-recommends mariadb-server postgresql"
    if os.environ.get("CI") or os.environ.get("EDGEREC_SERVERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def data_folder(user: str) -> Iterator[tuple[Path, list[str]]]:
    """A folder that belongs to who runs the server, and what runs a command as that user until the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="edgerec-server-"))
    as_user = ["setpriv", "--pdeathsig=TERM"]
    if os.geteuid() == 0:  # neither server runs as root
        shutil.chown(folder, user)
        as_user += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    try:
        yield folder, as_user
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], log: Path, ready: Callable[[], object], stop: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    """The server while the block runs, from when ``ready`` raises nothing."""
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd="/")
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                ready()
                break
            except sqlalchemy.exc.OperationalError as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"{command[0]} does not start ({error.orig}):\n{log.read_text(errors='replace')}")
                time.sleep(0.1)
        yield
    finally:
        server.send_signal(stop)
        try:
            server.wait(SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def run(url: sqlalchemy.URL, *statements: str) -> None:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


@pytest.fixture(scope="session")
def mariadb() -> Iterator[sqlalchemy.URL]:
    """The URL of an empty MariaDB database whose user has PASSWORD."""
    install, server = program("mariadb-install-db", "mysql_install_db"), program("mariadbd", "mysqld")
    with data_folder("mysql") as (folder, as_user):
        data, port = folder / "data", free_port()
        subprocess.run(
            [*as_user, install, "--no-defaults", f"--datadir={data}", "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        # A zone unlike UTC: what is read must not depend on it.
        command = [
            *as_user, server, "--no-defaults", f"--datadir={data}", f"--socket={folder}/socket", f"--port={port}",
            "--bind-address=127.0.0.1", "--skip-name-resolve", f"--pid-file={folder}/pid",
            "--default-time-zone=+05:00", "--innodb-buffer-pool-size=64M",
        ]  # fmt: skip
        root = sqlalchemy.URL.create("mysql+pymysql", "root", host="127.0.0.1", port=port)
        with running(command, folder / "log", lambda: run(root, "select 1")):
            run(
                root,
                "create database shop character set utf8mb4",
                f"create user reader@'127.0.0.1' identified by '{PASSWORD}'",
                "grant all on shop.* to reader@'127.0.0.1'",
            )
            yield root.set(username="reader", password=PASSWORD, database="shop")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[sqlalchemy.URL]:
    """The URL of an empty PostgreSQL database whose user has PASSWORD."""
    initdb, server = program("initdb"), program("postgres")
    with data_folder("postgres") as (folder, as_user):
        data, port = folder / "data", free_port()
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        subprocess.run(
            [*as_user, initdb, "--pgdata", data, "--username=reader", f"--pwfile={secret}", "--encoding=UTF8",
             "--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        command = [
            *as_user, server, "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1",
            "-c", f"unix_socket_directories={folder}", "-c", "timezone=Asia/Tashkent", "-c", "fsync=off",
        ]  # fmt: skip
        maintenance = sqlalchemy.URL.create("postgresql+psycopg", "reader", PASSWORD, "127.0.0.1", port, "postgres")
        # PostgreSQL takes TERM for: wait for the clients.
        with running(command, folder / "log", lambda: run(maintenance, "select 1"), signal.SIGINT):
            run(maintenance, "create database shop")
            yield maintenance.set(database="shop")
