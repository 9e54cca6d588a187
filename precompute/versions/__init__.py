"""The life of versions: pointing to them, keeping and removing them, scenes taken out, and a version computed again from its lock."""
