"""The conformance kit: what a source owes, as tests that anybody's source can run. It needs pytest, which no extra brings."""

try:
    import pytest
except ModuleNotFoundError as _error:
    raise ImportError("asgi_forum.testing needs pytest: pip install pytest", name="pytest") from _error

# Before the import: a failed `assert` then shows both of its sides, as in a test of the user's own.
pytest.register_assert_rewrite("asgi_forum.testing.sources")

from asgi_forum.testing.sources.suite import SourceSuite  # noqa: E402

__all__ = ["SourceSuite"]
