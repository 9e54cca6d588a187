"""Measures how good a mosaic is: seams, figures, the report of a version."""
