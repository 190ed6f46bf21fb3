"""The source of `docs/sources.md` is what the page says of it: it lasts, it is shared, and its URL can be registered."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.projects import DEADLINE, environment, served, write_files
from tests.wire.readers import open_reader

DRAFT = {"event_type": "forum.post.added", "ticket": "T-1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's files, as its reader has them."""
    write_files({block.title: block.text for block in blocks(ROOT / "docs" / "sources.md") if block.title}, tmp_path)
    return tmp_path


def publish(url: str, *tickets: str) -> None:
    """Publish an event for each of some tickets."""
    drafts = [{**DRAFT, "ticket": ticket} for ticket in tickets]
    assert httpx2.post(f"{url}/events", json=drafts, trust_env=False).status_code == 201


def test_what_one_process_publishes_another_streams(folder: Path) -> None:
    """Two servers with one file have one log: a stream of the one carries what the other accepts, in one order."""
    with served("app", folder) as one, served("app", folder) as two:
        publish(one, "A")
        with closing(open_reader("sse", two, {"cursor": "earliest"})) as reader:
            assert [event["sequence"] for event in reader.take(1)] == [1]
            publish(one, "B")
            publish(two, "C")
            publish(one, "D")
            reader.take_to(4)
            assert [event["envelope"]["ticket"] for event in reader.events] == ["A", "B", "C", "D"]


def test_the_log_survives_a_restart_and_a_cursor_too(folder: Path) -> None:
    """After a restart a stream goes on from its cursor, without a reset; an id from before it is still known."""
    with served("app", folder) as url:
        publish(url, "A", "B")
        first = httpx2.get(f"{url}/events", params={"limit": 1}, trust_env=False).json()
    with served("app", folder) as url:
        with closing(open_reader("sse", url, {"cursor": first["next_cursor"]})) as reader:
            assert [event["envelope"]["ticket"] for event in reader.take(1)] == ["B"]
        again = {**DRAFT, "ticket": "A", "event_id": first["events"][0]["envelope"]["event_id"]}
        receipts = httpx2.post(f"{url}/events", json=again, trust_env=False).json()["events"]
        assert [(receipt["sequence"], receipt["duplicate"]) for receipt in receipts] == [(1, True)]
        conflict = httpx2.post(f"{url}/events", json=[DRAFT, {**again, "ticket": "Z"}], trust_env=False)
        assert (conflict.status_code, conflict.json()["error"]["index"]) == (409, 1)
        assert httpx2.get(f"{url}/events", params={"tail": 1}, trust_env=False).json()["events"][0]["sequence"] == 2


def test_a_file_that_is_gone_is_another_log(folder: Path) -> None:
    """Where the file is deleted, an open stream is told so by a reset, and carries what the new log gets."""
    with served("app", folder) as url:
        publish(url, "A")
        with closing(open_reader("sse", url, {"cursor": "earliest"})) as reader:
            reader.until("forum.live")
            (folder / "forum.db").unlink()
            publish(url, "B", "C")
            assert reader.until("forum.reset")["reason"] == "replaced"
            assert [event["envelope"]["ticket"] for event in reader.take(2)] == ["B", "C"]


def test_its_scheme_can_be_registered(folder: Path) -> None:
    """With the page's entry point installed, a URL of its scheme makes the source."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    installed = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    (folder / "by_url.py").write_text(
        "import asyncio\nfrom asgi_forum import Forum\n\n\n"
        "async def main():\n"
        "    async with Forum('sqlite://forum.db') as forum:\n"
        "        print((await forum.publish(event_type='a', ticket='b')).sequence, (await forum.health())['source'])\n\n\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "by_url.py"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1 {'kind': 'sqlite', 'available': True}\n", "")
