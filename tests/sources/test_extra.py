"""What a source needs beside the package is asked for when the source is."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest


def run(program: str) -> str:
    """Run a few lines in an interpreter of their own; what they print."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_sources_do_not_import_redis() -> None:
    """Who imports the door, or uses another source, needs no redis."""
    program = "import sys, asgi_forum.sources as sources\nsources.MemorySource()\nprint('redis' in sys.modules)"
    assert run(program) == "False"


def test_the_redis_source_is_at_the_door() -> None:
    """It is imported when it is asked for, and is the same as in its own module."""
    program = "from asgi_forum.sources import RedisSource\nprint(RedisSource.__module__, RedisSource.kind)"
    assert run(program) == "asgi_forum.sources.redis.source redis"


@pytest.mark.parametrize("missing", ["redis", "hiredis"])
def test_without_redis_the_extra_is_named(missing: str) -> None:
    """The import of the one name fails, with the command to install what is missing; the others are there."""
    program = (
        f"import sys\nsys.modules['{missing}'] = None\nfrom asgi_forum.sources import MemorySource\n"
        "try:\n    from asgi_forum.sources import RedisSource\nexcept ImportError as error:\n    print(error)"
    )
    assert run(program) == f"a log in Redis needs {missing}: pip install 'asgi-forum[redis]'"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match=r"module 'asgi_forum\.sources' has no attribute 'KafkaSource'"):
        _ = import_module("asgi_forum.sources").KafkaSource
