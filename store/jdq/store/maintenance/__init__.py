"""Keeping a store in order: list it, verify it, and remove what nothing needs."""
