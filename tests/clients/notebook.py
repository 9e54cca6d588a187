"""Runs docs/notebooks/sample.ipynb against a server; `python -m tests.clients.notebook HOST` writes it anew with its pictures."""

import os
import sys

import nbformat
from nbclient import NotebookClient

from tests.conftest import ROOT
from tests.waiting import PATIENCE

NOTEBOOK = ROOT / "docs" / "notebooks" / "sample.ipynb"


def executed(address: str) -> nbformat.NotebookNode:
    """The notebook with the outputs of its cells; a cell that raises raises here."""
    notebook = nbformat.read(NOTEBOOK, 4)
    runner = NotebookClient(notebook, timeout=PATIENCE, record_timing=False, kernel_name="python3")
    os.environ["TERRAZZO_URL"] = address
    return runner.execute()


if __name__ == "__main__":
    nbformat.write(executed(sys.argv[1]), NOTEBOOK)
