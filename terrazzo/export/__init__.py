"""Exports: an order in, Cloud-Optimized GeoTIFFs out, piece by piece, in bounded memory, going on where it was stopped."""
