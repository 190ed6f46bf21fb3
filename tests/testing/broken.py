"""The suites that must notice what is wrong with each of the broken sources. `test_suite.py` runs them: they are to fail."""

from __future__ import annotations

from tests.testing import wrong_feeds, wrong_pages
from tests.testing.sound import SoundSuite
from tests.testing.wrong_pages import Broken

__all__ = ["BROKEN"]

BROKEN: dict[str, type[Broken]] = {
    f"Test{each.__name__}": each
    for module in (wrong_pages, wrong_feeds)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, Broken) and each is not Broken
}
"""The broken sources, by the names of their suites."""

for _name, _source in BROKEN.items():
    _said = {"source": _source, "deadline": 1.0, "__module__": __name__, "__doc__": _source.__doc__}
    globals()[_name] = type(_name, (SoundSuite,), _said)
