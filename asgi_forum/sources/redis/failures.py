"""What redis-py raises, told as the forum's own errors: in words, and never with a password."""

from __future__ import annotations

import re
import ssl

from redis import exceptions

from asgi_forum.errors import ConfigurationError, Outcome, SourceUnavailable

__all__ = ["forbidden", "misconfigured", "moved", "stranger", "told", "unproven"]

_CREDENTIALS = re.compile(r"//[^/@\s]*@")

_PASSING = (
    "LOADING",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "READONLY",
    "MOVED",
    "ASK",
    "UNBLOCKED",
    "NOREPLICAS",
    "BUSY",
)
"""How an answer begins with which Redis refuses for now; the same question is answered later, or by another node."""

_ELSEWHERE = ("READONLY", "MOVED", "ASK", "UNBLOCKED", "MASTERDOWN", "CLUSTERDOWN")


_WORDS = {
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "TryAgainError": "TRYAGAIN",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "OutOfMemoryError": "OOM",
}
"""The words that redis-py takes off where it has a class for them; some versions have not all of these."""


def _text(error: Exception) -> str:
    word, text = _WORDS.get(type(error).__name__, ""), str(error) or type(error).__name__
    return f"{word} {text}" if word and not text.startswith(word) else text


def moved(error: Exception) -> bool:
    """Whether an answer says that another node has the log now: the address has to be looked up again."""
    return _text(error).startswith(_ELSEWHERE)


def stranger(error: Exception) -> bool:
    """Whether Redis refuses the user or the password."""
    return isinstance(error, exceptions.AuthenticationError) or _text(error).startswith(("NOAUTH", "WRONGPASS"))


def forbidden(error: Exception) -> bool:
    """Whether Redis does not permit a command, or a key, to its user."""
    return isinstance(error, exceptions.NoPermissionError) or any(
        words in str(error) for words in ("NOPERM", "ACL failure", "The user executing the script can")
    )


def unproven(error: BaseException | None) -> str:
    """Say what is wrong with the certificate of a server; nothing where that is not what was."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return ""


def misconfigured(error: SourceUnavailable) -> ConfigurationError | None:
    """Return what to raise at the start, where only somebody who sets things right can help; None where waiting does."""
    cause = error.__cause__
    if isinstance(cause, Exception) and (stranger(cause) or forbidden(cause)):
        return ConfigurationError(str(error))
    return None


def told(error: Exception, *, sent: bool) -> SourceUnavailable:
    """
    Return what to raise instead. `sent`: whether the command may have reached Redis, and its answer was lost.

    A refusal by Redis itself has changed nothing: the scripts ask all that may fail before they write. One of the user, or of
    a command, is an outage as well: it may come while streams are open, and be mended while they are.
    """
    text = _CREDENTIALS.sub("//", _text(error))
    if unproven(error) not in text:
        text += f" {unproven(error)}"  # redis-py 5 does not say it
    if stranger(error):
        return SourceUnavailable(f"Redis refuses the user or password of the source: {text}", outcome="not_published")
    if forbidden(error):
        text = f"Redis does not permit what a forum needs (see docs/redis.md): {text}"
        return SourceUnavailable(text, outcome="not_published")
    if isinstance(error, exceptions.ResponseError) and not text.startswith(_PASSING):
        return SourceUnavailable(f"Redis refuses: {text}", outcome="not_published")
    if isinstance(error, exceptions.ResponseError | exceptions.BusyLoadingError):
        return SourceUnavailable(f"Redis can't serve just now: {text}", outcome="not_published")
    outcome: Outcome = "unknown" if sent else "not_published"
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return SourceUnavailable(f"Redis does not answer: {text}", outcome=outcome)
    return SourceUnavailable(f"Redis can't be reached: {text}", outcome=outcome)
