"""Endpoints: parse, one call, respond."""
