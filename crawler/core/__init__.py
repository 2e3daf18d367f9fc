"""Values and protocols that every package may use: settings, limits, verdicts, rows, errors, ports.

The standard library and msgspec only.
"""
