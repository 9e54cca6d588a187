"""Item Search (STAC API) over the scenes of versions and over the periods of mosaics; needs the extra `stac`."""
