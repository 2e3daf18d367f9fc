"""What a stored run tells people."""
