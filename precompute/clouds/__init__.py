"""Classifies pixels: a trained model, the archives' masks as evidence, and the geometry of clouds and shadows."""
