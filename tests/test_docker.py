"""The container files: linted, and consistent with what they copy and mount."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_hadolint_finds_nothing(file):
    tool = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert tool
    done = subprocess.run([tool, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_what_is_copied_exists_and_nobody_is_root(file):
    text = file.read_text()
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split()[:-1])
    assert re.search(r"^USER \d+$", text, re.MULTILINE)


def test_the_pins_without_hashes_are_what_pip_reads(tmp_path):
    """The sed of the Dockerfiles leaves one plain requirement a line."""
    script = r"sed -e '/--hash=/d' -e 's/ *\\$//' constraints.txt"
    assert all(script in f.read_text() for f in FILES)
    lines = subprocess.run(script, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for line in lines.splitlines():
        assert re.fullmatch(r"[A-Za-z0-9_.\[\]-]+==[^\s;]+( ; .+)?", line), line
