"""One client's loop each: from a request to a reader, from its frames to the wire."""
