"""The server answers requests from a store."""
