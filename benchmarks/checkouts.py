"""Runs a benchmark's measured part in this checkout and in another one."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def print_answers(script: str, arguments: Sequence[str], before: str | None) -> None:
    """Prints what a script prints as JSON, in a process for each checkout's package, and whether the answers' `hash` agree.

    Args:
        script: its file, which runs in both; what it imports there has to be in the other checkout, too.
        before: folder of the other checkout.
    """
    results = []
    for checkout in filter(None, (str(Path(__file__).parents[1]), before)):
        environment = os.environ | {"PYTHONPATH": checkout, "PYTHONSAFEPATH": "1"}
        command = [sys.executable, script, *arguments]
        answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        results.append(json.loads(answer.stdout))
        print(results[-1], "before" if len(results) > 1 else "", flush=True)
    if len(results) > 1:
        print("files equal" if results[0]["hash"] == results[1]["hash"] else "FILES DIFFER")
