"""What was asked for, where it is stored, and how it stands."""
