"""Certificates made for one test, with the openssl command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes its certificate with the openssl command"
)


def serving_tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """What a server on 127.0.0.1 needs, and the file of the authority that a client has to trust."""
    certificate, key = make_certificate(folder)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    return tls, certificate


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=waypost"
    subject = "subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-addext", subject, "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return certificate, key
