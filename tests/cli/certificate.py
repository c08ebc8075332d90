"""A certificate for 127.0.0.1, made on the spot, for tests over https."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


def make(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context, and the PEM file that a client has to trust."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    key, pem = str(folder / "key.pem"), str(folder / "cert.pem")
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=penstock"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", pem]
    subprocess.run([*words.split(), *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return context, pem
