"""Many requests at once in one thread, with libcurl: how declared songs are asked for."""
