"""The life of versions: pointing to them, keeping and removing them, scenes taken out, and making one anew from its lock."""
