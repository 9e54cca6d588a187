"""The steps of the algorithm on real pixels, as an animated picture."""
