"""The only engine: from a selection of scenes to pixels, for tile, point, export, pyramid, report and film."""
