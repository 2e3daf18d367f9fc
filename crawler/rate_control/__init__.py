"""How many requests may go out now, given what came of the earlier ones."""
