"""What was asked for, where it is stored, and how it stands: spec, grid, run store and index, manifest, summary."""
