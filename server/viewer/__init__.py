"""The scripts and styles of the map page, and the libraries it needs, served from here alone."""
