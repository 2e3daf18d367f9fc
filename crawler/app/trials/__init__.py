"""The use case of trying songs: one request for each, explained; nothing is stored."""
