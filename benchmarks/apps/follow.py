"""
The yardstick of a log in Redis: a process that follows a stream by hand, with the proof behind each read that it is still the same.

    python -m benchmarks.apps.follow URL STREAM
"""

from __future__ import annotations

import sys
from typing import Any

import uvloop
from redis.asyncio import Connection, ConnectionPool


async def follow(url: str, stream: str) -> None:
    """Read what comes, for ever; the proof is that the last entry is still there."""
    pool: ConnectionPool[Any] = ConnectionPool.from_url(url, socket_timeout=30, protocol=2)
    connection: Connection = await pool.get_connection()
    last: bytes = b"0-0"
    print("following", flush=True)
    while True:
        blocked = ("XREAD", "COUNT", 256, "BLOCK", 1000, "STREAMS", stream, last)
        proof = [("XRANGE", stream, last, last), ("HGET", f"{stream}:meta", "epoch")]
        await connection.send_packed_command(connection.pack_commands([blocked, *proof]))
        reply = await connection.read_response()
        await connection.read_response()
        await connection.read_response()
        if reply:
            last = reply[0][1][-1][0]


if __name__ == "__main__":
    uvloop.run(follow(*sys.argv[1:]))
