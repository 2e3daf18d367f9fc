"""The rules: pure decisions about values. No I/O, and no clock of their own: the time is an argument."""
