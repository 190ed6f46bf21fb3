"""The extra `client`: without its libraries the rest of the package works, and the message names what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("library", ["httpx2", "websockets"])
def test_a_missing_library_is_named(library: str) -> None:
    """With the command that installs it."""
    found = run(f"import sys; sys.modules[{library!r}] = None; import asgi_forum.client")
    assert found.returncode == 1
    assert f"ImportError: asgi_forum.client needs {library}" in found.stderr
    assert "pip install 'asgi-forum[client]'" in found.stderr


def test_the_forum_itself_does_not_need_them() -> None:
    """Importing the package imports no HTTP client."""
    found = run("import sys, asgi_forum; print(*({'httpx2', 'websockets', 'click'} & set(sys.modules)))")
    assert (found.returncode, found.stdout.strip()) == (0, "")
