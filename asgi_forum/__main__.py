"""`python -m asgi_forum` is the command `asgi-forum`."""

from asgi_forum.cli import main

if __name__ == "__main__":
    main()
