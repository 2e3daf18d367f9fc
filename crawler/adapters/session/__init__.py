"""One request in one thread, with requests."""
