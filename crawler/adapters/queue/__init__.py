"""Where tasks wait: Cloud Tasks."""
