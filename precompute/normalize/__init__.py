"""Relative radiometric normalization: what differs between scenes of the same ground, solved on window corners."""
