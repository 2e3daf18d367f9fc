"""Try the promises of the project on real processes, for as long as wanted: `python -m campaigns`."""
