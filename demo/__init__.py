"""A small forum where people and agents answer each other, built on asgi_forum: `python -m demo`."""
