"""The commands and their options; what they do stands in the module of each, imported when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

import click

from asgi_forum import __version__
from asgi_forum.cli.options import (
    exclusive,
    given,
    header_option,
    name_option,
    option,
    shown,
    source_argument,
    url_argument,
)
from asgi_forum.cli.terminal import harmless, hush
from asgi_forum.errors import ForumError
from asgi_forum.settings import Limits

__all__ = ["asgi_forum"]

_FIELDS = {
    "--ticket": "The ticket it belongs to.",
    "--type": "Its type, such as forum.post.added.",
    "--run-id": "The run it belongs to.",
    "--thread-id": "The thread it belongs to.",
    "--agent-name": "The agent it is from.",
    "--actor-type": "Who acted: agent, operator, human or system (the default).",
    "--actor-name": "The name of who acted.",
    "--correlation-id": "What it belongs together with.",
    "--causation-id": "What caused it.",
    "--event-id": "Its id: publishing it again with the same id is harmless. Made where left out.",
    "--occurred-at": "When it happened, in RFC 3339 with an offset; now where left out.",
}


_SECONDS = click.FloatRange(0, min_open=True)


def _limits(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
    """Take limits as NAME=VALUE; what each may be is said by `Limits`."""
    limits: dict[str, Any] = {}
    for value in values:
        name, _, text = value.partition("=")
        for read in (int, float):
            with suppress(ValueError):
                limits[name] = read(text)
                break
        else:
            limits[name] = None if text.lower() == "none" else text
    try:
        Limits.of(limits)
    except ForumError as error:
        raise click.BadParameter(f"{error} (write NAME=VALUE, such as streams=2000)", context, parameter) from None
    return limits


class _Commands(click.Group):
    """Turns what a command raises into one line on stderr, safe for a terminal, and an exit status."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line, which may be all: `--help`, `--version`."""
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError:
            hush()
            raise click.exceptions.Exit(0) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except click.UsageError:
            raise
        except (ForumError, click.ClickException, ImportError) as error:
            raise click.ClickException(harmless(str(error))) from error
        except BrokenPipeError:
            hush()
            raise click.exceptions.Exit(0) from None
        except KeyboardInterrupt:
            raise click.exceptions.Exit(130) from None
        except OSError as error:
            raise click.ClickException(harmless(str(error))) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="asgi-forum", message="%(prog)s %(version)s")
def asgi_forum() -> None:
    """Serve a forum of live events, follow it, publish to it, check and repair it. Every option has an environment variable."""


@asgi_forum.command()
@option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 picks a free one.")
@option("--source", default="memory://", show_default=True, help="Where the events are.")
@name_option
@option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@option("--path", default="/forum", show_default=True, help="Where the forum is mounted.")
@option("--allow-publish", is_flag=True, help="Let everybody who reaches it publish over HTTP.")
@option("--allow-origin", "allowed_origins", multiple=True, help="A page's origin that may connect; repeatable.")
@option("--heartbeat", type=_SECONDS, default=25.0, show_default=True, help="Seconds of silence until a heartbeat.")
@option("--retain", type=click.IntRange(1), default=100_000, show_default=True, help="How many events to keep.")
@option("--retain-for", type=_SECONDS, help="Seconds to keep an event after its arrival; for ever where left out.")
@option("--limit", "limits", multiple=True, callback=_limits, help="A limit, such as streams=2000; repeatable.")
@option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="What to log, to stderr; requests from info on.",
)
def serve(*, workers: int, path: str, source: str, **options: Any) -> None:
    """Serve a forum by itself. Ctrl-C or SIGTERM ends its streams, and then it."""
    if not path.startswith("/") or (path.endswith("/") and path != "/"):
        raise click.BadParameter("expected one that begins with '/' and does not end with it", param_hint="--path")
    if workers > 1 and source.startswith("memory:"):
        raise click.BadParameter(
            f"{workers} workers can't share memory://: a memory:// log lives inside one process", param_hint="--workers"
        )
    from asgi_forum.cli.serve import serve as run

    if not options["allowed_origins"]:  # then ASGI_FORUM_ALLOWED_ORIGINS holds, as for Forum.from_env()
        del options["allowed_origins"]
    if not options["limits"]:
        del options["limits"]
    run(path=path, source=source, workers=workers, **options)


@asgi_forum.command()
@url_argument
@option("--ticket", multiple=True, help="Only events of this ticket; repeatable.")
@option("--run-id", multiple=True, help="Only events of this run; repeatable.")
@option("--thread-id", multiple=True, help="Only events of this thread; repeatable.")
@option("--type", "event_type", multiple=True, help="Only events of this type or below it; repeatable.")
@option("--cursor", help="Where to begin: a cursor, earliest, latest (the default), or a sequence to begin after.")
@option("--tail", type=click.IntRange(0, 1000), help="Begin with the last N events that match.")
@option("--transport", type=click.Choice(["sse", "ws"]), default="sse", show_default=True, help="How to connect.")
@option("--heartbeat", type=_SECONDS, default=25.0, show_default=True, help="The forum's heartbeat, in seconds.")
@option("--json", "as_json", is_flag=True, help="One event a line, as JSON.")
@option(
    "--retry-for", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to try the first contact."
)
@header_option
@name_option
@click.pass_context
def tail(context: click.Context, /, **_: Any) -> None:
    """
    Print the events of the forum at URL as they come. It goes on by itself when the server was away.

    URL is the address of a forum (http://...), or of the source that has its log (redis://...).
    """
    exclusive(context, "cursor", "tail")
    from asgi_forum.cli.resolve import target_of
    from asgi_forum.cli.tail import follow

    elsewhere = ("url", "headers", "name")
    follow(target_of(context), **{name: value for name, value in context.params.items() if name not in elsewhere})


def _field_options(command: Any) -> Any:
    for name, text in reversed(_FIELDS.items()):
        declarations = (name, "event_type") if name == "--type" else (name,)
        command = option(*declarations, help=text)(command)
    return command


@asgi_forum.command()
@url_argument
@_field_options
@option("--event-version", type=int, help="The version of its type.")
@option("--payload", help="Its payload, a JSON object.")
@option("--payload-file", type=click.File("rb"), help="A file that holds the payload; - is stdin.")
@option("--ndjson", type=click.File("rb"), help="A file of events, one JSON object a line; - is stdin.")
@option(
    "--retry-for", type=click.FloatRange(0), default=30.0, show_default=True, help="Seconds to repeat what got lost."
)
@header_option
@name_option
@click.pass_context
def publish(
    context: click.Context,
    /,
    url: str,
    ndjson: IO[bytes] | None,
    retry_for: float,
    headers: dict[str, str],
    name: str,
    **fields: Any,
) -> None:
    """
    Publish to the forum at URL: one event, described by options, or many (--ndjson).

    URL is the address of a forum (http://...), or of the source that has its log (redis://...).

    It prints the event's sequence, id and cursor, and `duplicate` where the forum had it; for many, how many were
    new. What got lost on the way is repeated, and is never published twice.
    """
    from asgi_forum.cli.publish import event_of, publish_lines, publish_one
    from asgi_forum.cli.resolve import target_of

    alone = [name for name in fields if given(context, name)]
    if alone and not given(context, "ndjson"):
        ndjson = None  # the environment's: the command line wins
    if ndjson is not None:
        if alone:
            raise click.UsageError(f"--ndjson and {shown(context, alone[0])} exclude each other")
        publish_lines(target_of(context), ndjson, retry_for)
        return
    exclusive(context, "payload", "payload_file")
    payload, file = context.params["payload"], context.params["payload_file"]
    described = {name: value for name, value in fields.items() if name not in ("payload", "payload_file")}
    for name, hint in (("ticket", "--ticket"), ("event_type", "--type")):
        if described[name] is None:
            raise click.UsageError(f"missing option {hint} (or --ndjson, for many events)")
    receipt = publish_one(target_of(context), event_of(described, payload, file), retry_for)
    mark = " duplicate" if receipt.duplicate else ""
    click.echo(harmless(f"{receipt.sequence} {receipt.event_id} {receipt.cursor}{mark}"))


@asgi_forum.command()
@url_argument
@header_option
@name_option
@click.pass_context
def check(context: click.Context, /, **_: Any) -> None:
    """
    Print how the forum at URL is: its health, its head cursor, and how long one read takes. It writes nothing.

    URL is the address of a forum (http://...), or of the source that has its log (redis://...).
    """
    from asgi_forum.cli.check import check as run
    from asgi_forum.cli.resolve import target_of

    run(target_of(context))


@asgi_forum.command()
@source_argument
@name_option
def repair(url: str, name: str) -> None:
    """
    Make the log at URL (redis://...) one that can be published to again, where an entry without a number stops that.

    Such an entry (added by a plain `XADD ... *`) is removed; all others stay, and forums that are running go on.
    """
    from asgi_forum.cli.repair import repair as run

    run(url, name)
