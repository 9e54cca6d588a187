"""Serves the folder that FILES names."""

import os

from starlette.staticfiles import StaticFiles

app = StaticFiles(directory=os.environ["FILES"])
