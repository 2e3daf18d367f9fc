"""Many requests at once in one thread, with libcurl."""
