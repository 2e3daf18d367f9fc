"""How a declared song is asked for: its URL and body, and where it is asked for next."""
