"""The log in Redis, against servers that the tests start themselves."""
