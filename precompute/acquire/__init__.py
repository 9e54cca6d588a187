"""Searches archives and fetches products."""
