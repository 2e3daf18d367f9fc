"""What stored runs hold, for whoever reads them: rows by number, by status, page by page."""
