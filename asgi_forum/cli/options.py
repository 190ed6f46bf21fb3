"""What the commands share: options with environment variables, and the checks of what they take."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from asgi_forum.errors import ConfigurationError
from asgi_forum.sources.registry import SourceOptions, registered

__all__ = [
    "EnvOption",
    "exclusive",
    "given",
    "header_option",
    "name_option",
    "option",
    "shown",
    "source_argument",
    "url_argument",
]

_NAME_HELP = "The forum's name, where a source holds several."

F = TypeVar("F", bound=Callable[..., Any])

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")


class EnvOption(click.Option):
    """
    An option that `ASGI_FORUM_<OPTION>` sets too; one that is repeatable takes its values there divided by blanks.
    """

    def __init__(self, param_decls: Sequence[str], **attrs: Any) -> None:
        name = next(each for each in param_decls if each.startswith("--")).partition("/")[0].removeprefix("--")
        attrs.setdefault("envvar", f"ASGI_FORUM_{name.replace('-', '_').upper()}")
        attrs.setdefault("show_envvar", True)
        super().__init__(param_decls, **attrs)


def option(*declarations: str, **attributes: Any) -> Callable[[F], F]:
    """Declare an option of a command."""
    return click.option(*declarations, cls=EnvOption, **attributes)


def given(context: click.Context, name: str) -> bool:
    """Whether a parameter stands on the command line (what the environment sets gives way to it)."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def shown(context: click.Context, name: str) -> str:
    """Return a parameter as users write it."""
    return next(each.opts[0] for each in context.command.params if each.name == name)


def exclusive(context: click.Context, first: str, second: str) -> None:
    """
    Let one of two options win by being on the command line; UsageError where neither, or both, are and both have
    values.
    """
    if context.params[first] is None or context.params[second] is None:
        return
    if given(context, first) == given(context, second):
        raise click.UsageError(f"{shown(context, first)} and {shown(context, second)} exclude each other", context)
    context.params[second if given(context, first) else first] = None


class _Lines(click.types.StringParamType):
    """A string; several of them stand one a line in the environment."""

    envvar_list_splitter = "\n"


def _address(context: click.Context, parameter: click.Parameter, url: str) -> str:
    """Take the address of a forum, or the URL of a source but memory://; say why another is refused."""
    from asgi_forum.client.address import Address

    if url.partition(":")[0].lower() == "memory":
        reason = "a memory:// log lives inside the process that serves it: give the address of that forum"
        raise click.BadParameter(reason, context, parameter)
    if registered(url):
        return url
    try:
        Address.parse(url)
    except ConfigurationError as error:
        reason = f"{str(error).removeprefix('url: ')}, or the URL of a source, such as 'redis://localhost:6379/0'"
        raise click.BadParameter(reason, context, parameter) from None
    return url


def _name(context: click.Context, parameter: click.Parameter, name: str) -> str:
    """Take the name of a forum."""
    try:
        SourceOptions(name)
    except ConfigurationError as error:
        raise click.BadParameter(str(error).removeprefix("name: "), context, parameter) from None
    return name


def _headers(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """Take headers as HTTP writes them. Their values may be secrets, so none is shown."""
    headers: dict[str, str] = {}
    for value in filter(str.strip, values):
        found = _HEADER.fullmatch(value.strip())
        if found is None:
            reason = "expected 'Name: value', such as 'Authorization: Bearer ...'"
            raise click.BadParameter(reason, context, parameter)
        headers[found[1]] = found[2].rstrip()
    return headers


def url_argument(command: F) -> F:
    """Give a command its URL."""
    return click.argument("url", callback=_address, envvar="ASGI_FORUM_URL")(command)


def source_argument(command: F) -> F:
    """Give a command the URL of a source."""
    return click.argument("url", callback=_source, envvar="ASGI_FORUM_URL")(command)


def _source(context: click.Context, parameter: click.Parameter, url: str) -> str:
    """Take the URL of a source; say why the address of a forum is refused."""
    if not registered(_address(context, parameter, url)):
        reason = "expected the URL of a source, such as 'redis://localhost:6379/0': a log is not repaired over HTTP"
        raise click.BadParameter(reason, context, parameter)
    return url


def name_option(command: F) -> F:
    """Give a command its `--name`."""
    return option("--name", default="default", show_default=True, callback=_name, help=_NAME_HELP)(command)


def header_option(command: F) -> F:
    """Give a command its `--header`."""
    text = (
        "A header for every request, such as 'Authorization: Bearer ...'; repeatable (in the environment: one a line)."
    )
    return option("--header", "headers", type=_Lines(), multiple=True, callback=_headers, help=text)(command)
