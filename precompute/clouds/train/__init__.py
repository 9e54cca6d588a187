"""Trains the cloud classifier: `python -m precompute.clouds.train --data FOLDER`."""
