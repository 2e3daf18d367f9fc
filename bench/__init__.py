"""The benchmark: the function and what one would pick instead, on one upstream in one run. `make bench`."""
