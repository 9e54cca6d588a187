"""Trains the cloud classifiers: `terrazzo train --data FOLDER`."""
