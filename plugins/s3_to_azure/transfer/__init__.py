"""Copies objects: decide, read, stage, verify and commit each one, many at once within one memory budget."""
