"""The map page and the libraries it needs, served from here alone."""
