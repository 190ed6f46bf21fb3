"""
The pages of the documentation, and what stands in them: code, headings, links.

How a fenced block is marked says what the tests do with it:

- ```` ```python title="app.py" ```` is a whole program. It is written to a file of that name, beside the files that were named
  before it on its page (a later one of a name replaces the earlier), and imported. One that is called `test_….py` is run by pytest.
- `run="script"` after the title: it is run as `python NAME`, and must end well. `run="no"`: it needs what the tests do not
  install, and is only compiled. `needs="starlette>=1.9"`: with an older one, or none, which is supported too, it is only compiled.
- ```` ```html title="…" ```` and any other language: the file is written too.
- ```` ```console app="app.py" ````: a transcript. That program is served, its `$ curl` commands are carried out, and what they
  print must be what stands below them; `...` stands for anything. Cursors, ids and times count as equal where their form is.
- ```` ```python ```` without a title is a fragment: it must compile, `await` and `async for` included.
- ```` ```json ```` must be JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "Link", "anchors", "blocks", "links", "rows", "section"]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r" {0,3}(`{3,})(.*)")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_HEADING = re.compile(r"(#{1,6}) +(.+?) *")
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)")
_CODE = re.compile(r"(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code, and where it stands."""

    page: Path
    line: int
    language: str
    attributes: dict[str, str]
    text: str

    @property
    def title(self) -> str | None:
        """The name of the file that it is."""
        return self.attributes.get("title")

    @property
    def runs(self) -> bool:
        """Whether it is a program that can be run here."""
        package, _, least = self.attributes.get("needs", "").partition(">=")
        try:
            there = not package or _numbers(version(package)) >= _numbers(least)
        except PackageNotFoundError:  # some have no wheel for the newest Python
            there = False
        return self.title is not None and self.attributes.get("run") != "no" and there

    @property
    def place(self) -> str:
        """Page and line, to name a test by."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


@dataclass(frozen=True, slots=True)
class Link:
    """A link, and where it stands."""

    page: Path
    line: int
    target: str

    @property
    def place(self) -> str:
        """Page, line and target, to name a test by."""
        return f"{self.page.relative_to(ROOT)}:{self.line}:{self.target}"


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks, in order."""
    found: list[Block] = []
    fence, info, start, held = "", "", 0, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        match = _FENCE.fullmatch(line)
        if not fence and match:
            fence, info, start, held = match[1], match[2].strip(), number, []
        elif fence and line.strip() == fence:
            attributes = dict(_ATTRIBUTE.findall(info))
            found.append(Block(page, start, info.partition(" ")[0], attributes, "\n".join(held) + "\n"))
            fence = ""
        elif fence:
            held.append(line)
    if fence:
        raise ValueError(f"{page.name}: the block of line {start} does not end")
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for _, _, title in _headings(page):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()).replace(" ", "-")
        count = sum(re.fullmatch(rf"{re.escape(plain)}(-\d+)?", each) is not None for each in found)
        found.add(f"{plain}-{count}" if count else plain)
    return found


def links(page: Path) -> list[Link]:
    """Return a page's links to other files, pages and headings; those that leave the project are left out."""
    prose = dict(_prose(page))
    # A link may go over the end of a line, so the page is read as one text; code in it is no link.
    text = "\n".join(prose.get(number, "") for number in range(1, max(prose, default=0) + 1))
    text = _CODE.sub(lambda code: re.sub(r"[^\n]", "x", code[0]), text)
    found = [Link(page, text.count("\n", 0, each.end()) + 1, each[1]) for each in _LINK.finditer(text)]
    return [link for link in found if not re.match(r"[a-z][a-z0-9+.-]*:", link.target)]


def section(page: Path, *titles: str) -> tuple[int, int]:
    """Return the first line of the section below these headings, one inside the other, and the line after its last one."""
    depth, wanted, start = 0, list(titles), 0
    for number, level, title in _headings(page):
        if start and level <= depth:
            return start, number
        if wanted and title == wanted[0]:
            del wanted[0]
            if not wanted:
                start, depth = number, level
    if not start:
        raise ValueError(f"{page.name} has no heading {' > '.join(titles)}")
    return start, len(page.read_text().splitlines()) + 1


def rows(page: Path, *titles: str) -> Iterator[list[str]]:
    """Yield the cells of a section's tables: those rows whose first cell begins with code or a number."""
    start, end = section(page, *titles)
    for line in page.read_text().splitlines()[start : end - 1]:
        if re.match(r"\| [`\d]", line):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def _headings(page: Path) -> Iterator[tuple[int, int, str]]:
    for number, line in _prose(page):
        if match := _HEADING.fullmatch(line):
            yield number, len(match[1]), match[2]


def _prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines outside of fenced blocks."""
    fence = ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        match = _FENCE.fullmatch(line)
        if not fence and match:
            fence = match[1]
        elif fence:
            fence = "" if line.strip() == fence else fence
        else:
            yield number, line
