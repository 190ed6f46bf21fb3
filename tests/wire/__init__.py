"""Tests from outside: the wire protocol, on real sockets, one module per section."""
