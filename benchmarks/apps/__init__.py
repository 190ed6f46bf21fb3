"""The applications that are measured: each serves `/stream?ticket=T`, over SSE and WebSocket, and publishes on demand."""
