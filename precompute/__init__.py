"""Precompute decides and writes: it turns products into scenes, solves normalization, publishes versions."""
