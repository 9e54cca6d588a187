"""Commands that need no stage: they read a published mosaic."""
