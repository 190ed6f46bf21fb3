"""Who gets what: the tail of the log, channels by filter, readers, and the tasks that keep them going."""
