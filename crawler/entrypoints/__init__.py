"""What people and programs call: HTTP, the command line, Python."""
