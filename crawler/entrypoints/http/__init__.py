"""HTTP without a web framework, and the pages for people."""
