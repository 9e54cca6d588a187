"""Makes a scene of a product: corrected bands, mask, tables and Item."""
