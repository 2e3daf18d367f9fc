"""Where objects are stored: a module for each kind of store, a folder and Cloud Storage (gs://)."""
