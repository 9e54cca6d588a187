"""Finds products and reads what they hold: Items, metadata, angles, pixels."""
