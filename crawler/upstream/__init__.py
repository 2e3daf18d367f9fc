"""What an API's answers mean, and what may be asked of it. No I/O, no clock."""
