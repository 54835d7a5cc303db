"""Runs: a directory, its checkpoint, its curves, and the session that trains in it."""
