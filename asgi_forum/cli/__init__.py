"""The command `asgi-forum` (section 12 of the protocol). It needs the extra `cli` (`pip install 'asgi-forum[cli]'`)."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """
    Run the command line, and exit: 0 done, 1 failed (one line on stderr says why), 2 wrong usage, 130 interrupted.
    """
    try:
        from asgi_forum.cli.commands import asgi_forum
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("Error: the command line needs click: pip install 'asgi-forum[cli]'")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(asgi_forum(prog_name="asgi-forum"))
