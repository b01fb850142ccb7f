"""Maintenance: list a store, verify it, and remove what nothing needs."""
