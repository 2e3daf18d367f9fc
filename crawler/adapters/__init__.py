"""One outside library or system each, behind a port."""
