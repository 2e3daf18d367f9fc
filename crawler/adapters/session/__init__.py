"""One request in one thread, with requests: the session that a function of one's own is given."""
