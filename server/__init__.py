"""The server answers requests from a store: tiles, WMTS, points, boxes, and a map."""
