"""A page that uses `client.js`, and what it was told."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page

__all__ = ["Follower", "follow"]

_FOLLOW = """async ([url, options]) => {
  const { connect } = await import("/forum/client.js");
  const told = { numbers: [], batched: [], states: [], reasons: [], resets: [], errors: [], live: 0 };
  const stream = url === null ? connect(options) : connect(url, options);
  const hear = (type, take) => stream.addEventListener(type, ({ detail }) => take(detail));
  hear("event", (event) => told.numbers.push(event.payload.n));
  hear("events", (events) => told.batched.push(...events.map((event) => event.payload.n)));
  hear("state", ({ state, error }) => {
    told.states.push(state);
    if (error) told.reasons.push(error.code);
  });
  hear("reset", ({ reason }) => told.resets.push(reason));
  hear("live", () => { told.live += 1; });
  hear("error", (error) => told.errors.push([error.code, error.message]));
  Object.assign(globalThis, { stream, told });
}"""


class Follower:
    """A stream in a page."""

    def __init__(self, page: Page) -> None:
        self._page = page

    async def told(self) -> dict[str, Any]:
        """Return what the stream has told until now."""
        return dict(await self._page.evaluate("told"))

    async def until(self, condition: str, argument: object = None) -> dict[str, Any]:
        """Wait until an expression over `told` and `stream` (and `argument`) holds; returns what was told."""
        await self._page.wait_for_function(
            f"(argument) => {{ const {{ told, stream }} = globalThis; return {condition}; }}", arg=argument
        )
        return await self.told()

    async def has_numbers(self, *numbers: int) -> dict[str, Any]:
        """Wait for as many events as these, and see that it was these, in this order."""
        told = await self.until("told.numbers.length >= argument", len(numbers))
        assert told["numbers"] == list(numbers)
        assert told["batched"] == list(numbers)
        return told


async def follow(page: Page, url: str | None = "/forum", **options: Any) -> Follower:
    """Connect in a page of the forum's origin."""
    await page.evaluate(_FOLLOW, [url, options])
    return Follower(page)
