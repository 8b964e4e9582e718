"""A tiny model in a real wheel, an index that serves it on loopback, and the real model where a test must run one."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from waypost.errors import ModelError
from waypost.local.catalogue import SMOLLM2_135M_INSTRUCT, CatalogueModel
from waypost.local.store import ModelStore

GGUF_HEAD = struct.pack("<4sIQQ", b"GGUF", 3, 1, 0)


def _wheel(folder: Path, content: bytes) -> CatalogueModel:
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    files = {
        "tiny_model/tiny.gguf": content,
        "tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        b"Requires-Dist: a-package-that-is-nowhere\n",
        "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "tiny_model-1.0.dist-info/RECORD"
    rows = [f"{name},{_record_hash(data)},{len(data)}\n" for name, data in files.items()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**files, record: "".join([*rows, f"{record},,\n"]).encode()}.items():
            archive.writestr(name, data)
    return CatalogueModel(
        name="tiny",
        title="Tiny",
        license="Apache-2.0",
        package="tiny-model",
        version="1.0",
        wheel_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        wheel_size_bytes=path.stat().st_size,
        member="tiny_model/tiny.gguf",
        file_sha256=hashlib.sha256(content).hexdigest(),
        file_size_bytes=len(content),
        context_window_tokens=512,
    )


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@dataclass
class Index:
    """A package index with one wheel. `hold` makes it stop half-way through the wheel, for as long as it is set."""

    folder: Path
    model: CatalogueModel
    url: str = ""
    downloads: int = 0
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def wheel(self) -> Path:
        return next(self.folder.glob("*.whl"))

    @property
    def environment(self) -> dict[str, str]:
        """What makes pip use this index and nothing else."""
        return {
            "PIP_INDEX_URL": self.url + "/simple/",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_RETRIES": "0",
            "PIP_DEFAULT_TIMEOUT": "60",
            "NO_PROXY": "127.0.0.1",
        }


def _handler(index: Index) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.endswith(".whl"):
                self._reply(f'<a href="/{index.wheel.name}">{index.wheel.name}</a>'.encode(), "text/html")
                return
            index.downloads += 1
            self._reply(index.wheel.read_bytes(), "application/octet-stream")

        def _reply(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            end = time.monotonic() + 60
            while kind != "text/html" and index.hold.is_set() and time.monotonic() < end:
                time.sleep(0.02)
            self.wfile.write(body[len(body) // 2 :])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The index, which pip is told of by its own environment variables."""
    folder = tmp_path / "index"
    folder.mkdir()
    # Half of it compresses well: the file is larger than its wheel, as real ones are.
    content = GGUF_HEAD + os.urandom(1_200_000) + bytes(600_000)
    index = Index(folder, _wheel(folder, content))

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that are killed are what some tests are about."""

    with Server(("127.0.0.1", 0), _handler(index)) as server:
        index.url = f"http://127.0.0.1:{server.server_port}"
        for name, value in index.environment.items():
            monkeypatch.setenv(name, value)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield index
        index.hold.clear()
        server.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path, index: Index) -> ModelStore:
    """An empty store that knows the tiny model."""
    return ModelStore(tmp_path / "models", {"tiny": index.model})


@pytest.fixture(scope="session")
def real_store() -> ModelStore:
    """The product's own store with the real model, fetched if it is not there yet."""
    import platformdirs

    data_dir = os.environ.get("WAYPOST_DATA_DIR") or platformdirs.user_data_path("waypost")
    store = ModelStore(Path(data_dir) / "models")
    try:
        store.pull(SMOLLM2_135M_INSTRUCT.name)
    except ModelError as error:
        pytest.skip(f"the real model is not on this machine and cannot be fetched: {error}")
    return store


@pytest.fixture
def script() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run Python source in a process of its own, which the test may kill."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def ends() -> Callable[[int, float], bool]:
    """Has the process with this id ended within so many seconds?"""

    def check(pid: int, limit_s: float) -> bool:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            try:
                # An orphan may stay a zombie where process 1 of a container reaps nothing.
                if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                    return True
            except psutil.NoSuchProcess:
                return True
            time.sleep(0.02)
        return False

    return check
