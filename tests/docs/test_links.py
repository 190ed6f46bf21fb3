"""Every link between the pages leads somewhere."""

from __future__ import annotations

import pytest

from tests.docs.pages import PAGES, ROOT, Link, anchors, links

LINKS = [link for page in PAGES for link in links(page)]


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.place)
def test_a_link_leads_to_a_file_and_a_heading(link: Link) -> None:
    """The file is there, inside the project, and has the heading that is named."""
    name, _, anchor = link.target.partition("#")
    target = (link.page.parent / name).resolve() if name else link.page
    assert target.exists()
    assert target.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(target)


def test_every_page_can_be_found() -> None:
    """The index of the documentation leads to every other page."""
    index = ROOT / "docs" / "README.md"
    found = {(index.parent / link.target.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in PAGES if page.parent == index.parent} - {index} <= found
