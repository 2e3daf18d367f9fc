"""The adapters: one outside library or system each, behind a seam."""
