"""Saying in words what an answer of the upstream means, and what may be wrong with it: for people who try a song."""
