"""Where objects are stored: a folder or Cloud Storage."""
