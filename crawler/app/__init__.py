"""What can be done with a deployment: each use case once, for every entry point."""
