"""Values and protocols that every other package may use: the standard library and msgspec only."""
