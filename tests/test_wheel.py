"""What is uploaded to a package index: one package, which runs the main job in an empty environment."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import rasterio

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).parent / "uv"


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source distribution; the wheel is built from the unpacked source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder, cwd=ROOT)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def test_a_wheel_puts_one_name_into_site_packages(built):
    names = zipfile.ZipFile(built[0]).namelist()
    assert {n.split("/")[0].split("-")[0] for n in names} == {"terrazzo"}
    for name in ("precompute/pipeline.py", "server/app.py", "precompute/sample/README.md", "py.typed"):
        assert f"terrazzo/{name}" in names


def test_a_source_distribution_holds_its_tests_and_what_they_read(built):
    with tarfile.open(built[1]) as archive:
        names = {n.split("/", 1)[1] for n in archive.getnames()}
    for name in (
        "tests/conftest.py",
        "tests/golden/store/store.json",
        "Makefile",
        "constraints.txt",
        "nginx.conf",
    ):
        assert name in names
    assert "terrazzo/precompute/pipeline.py" in names


@pytest.mark.slow
def test_the_demo_and_an_export_run_from_an_installed_wheel(built, tmp_path):
    environment = tmp_path / "environment"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        python,
        "-c",
        ROOT / "constraints.txt",
        f"{built[0]}[all]",
    )
    # A user's own modules of these names neither stand for ours nor are hidden by them.
    home = tmp_path / "home"
    home.mkdir()
    for name in ("server", "precompute"):
        (home / f"{name}.py").write_text(f"WHO = 'the user, {name}'\n")
    plain = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    ours = run(
        python, "-c", "import server, precompute; print(server.WHO, precompute.WHO)", cwd=home, env=plain
    )
    assert ours.split() == ["the", "user,", "server", "the", "user,", "precompute"]
    terrazzo = environment / "bin" / "terrazzo"
    demo = subprocess.Popen(
        [terrazzo, "demo", "--store", "demo", "--port", "0"],
        cwd=home,
        env=plain,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        address = next(m[1] for line in demo.stdout if (m := re.search(r"map: (http://\S+)/", line)))
        with urlopen(f"{address}/mosaics/mosaic/tiles/WebMercatorQuad/10/557/364.png") as answer:
            assert answer.status == 200
            assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
    finally:
        demo.terminate()
        demo.wait()
    box = ["15.9", "45.75", "16.0", "45.85"]
    run(terrazzo, "export", "--store", "demo", "--bbox", *box, "-o", "out.tif", cwd=home, env=plain)
    with rasterio.open(home / "out.tif") as dataset:
        assert dataset.count == 4
        assert np.all(dataset.read(masked=True).count(axis=(1, 2)) > 0)


def test_the_long_description_leads_to_pictures_and_pages(built):
    archive = zipfile.ZipFile(built[0])
    (name,) = (n for n in archive.namelist() if n.endswith("dist-info/METADATA"))
    text = archive.read(name).decode()
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert any(t.endswith("docs/pictures/sample.jpg") for t in targets)
    assert [t for t in targets if not t.startswith("https://")] == []
