"""The simulator: small worlds with known truth, written as the products an archive delivers.

Four steps, each a module, each usable alone:

- `land`: the ground. Pure arrays: fields, meadows, towns, lakes and forests with sides on window borders.
- `sky`: what one pass sees of it. Pure arrays: gain, offset, haze, ramps, swath edges, clouds, shadows, angles.
- `products`: writes a pass as a STAC Item with COGs and, where asked, granule metadata with angle grids.
- `worlds`: worlds made of these, with one seed each, for tests and benchmarks.

    world = make_world(folder, seed=3, dates=6, sky=Weather(gain=0.1, haze=0.03, cloud=0.3))
    terrazzo precompute folder --store …
    world.land["33TWL"].rho      # the truth, (band, row, col)

Equal arguments give equal files. Reflectance is 0–1, angles degrees, lengths metres, boxes pixels of the zone
grid. For a mean with a confidence interval run seeds 0 to 4.
"""
