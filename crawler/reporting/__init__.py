"""What a stored run tells people: the figures of its report."""
