"""The forum on every server that is supported, each a process of its own, as users start it."""
