"""Clock, threads, event loop and memory of the process."""
