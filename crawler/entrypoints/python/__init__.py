"""Crawling from a script or a notebook."""
