"""Certificates for servers of these tests, made by the program `openssl`."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Authority", "Certificate", "has_openssl"]

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def has_openssl() -> bool:
    """Whether they can be made here."""
    return shutil.which("openssl") is not None


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate, and its key."""

    file: Path
    key: Path


class Authority:
    """One that signs certificates; whoever has its own, `file`, believes them."""

    def __init__(self, folder: Path) -> None:
        """Make one, with its files in a folder."""
        folder.mkdir()
        self.file = folder / "ca.pem"
        self._folder = folder
        self._key = folder / "ca.key"
        usage = ("-addext", "keyUsage=critical,keyCertSign")
        _openssl(
            "req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=ca", *usage, "-keyout", self._key, "-out", self.file
        )

    def certificate(self, name: str) -> Certificate:
        """Sign one for a name, such as `IP:127.0.0.1` or `DNS:elsewhere.example`."""
        stem = self._folder / name.replace(":", "-")
        made = Certificate(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={name}\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
        _openssl("req", *_KEY, "-subj", "/CN=server", "-keyout", made.key, "-out", request)
        signer = ("-CA", self.file, "-CAkey", self._key, "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signer, "-days", "2", "-extfile", extensions, "-out", made.file)
        return made
