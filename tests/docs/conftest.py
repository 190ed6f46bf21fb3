"""What these tests have from the browser's tests."""

from tests.browser.conftest import browser

__all__ = ["browser"]
