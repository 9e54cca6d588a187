"""Reads what a product holds: Items, SAFE folders, metadata, angles, pixels."""
