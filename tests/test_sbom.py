"""The bill of materials names what ships: Terrazzo's dependencies, and all packages of an image."""

import io
import json
import subprocess
import sys
import tarfile

from tests.conftest import ROOT

STATUS = """Package: libexpat1
Status: install ok installed
Architecture: amd64
Version: 2.7.1-2

Package: libexpat1-dev
Status: install ok installed
Architecture: amd64
Version: 2.7.1-2

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
FILES = {
    "var/lib/dpkg/status": STATUS,
    "usr/lib/os-release": 'NAME="Debian"\nVERSION_ID="13"\n',
    "usr/share/doc/libexpat1/copyright": "Files: *\nLicense: MIT\n\nLicense: MIT\n Permission …\n",
    "opt/terrazzo/lib/python3.13/site-packages/terrazzo-9.9.dist-info/METADATA": "Name: terrazzo\nVersion: 9.9\n",
    "opt/terrazzo/lib/python3.13/site-packages/Some_Thing-1.2.dist-info/METADATA": (
        "Name: Some_Thing\nVersion: 1.2\nLicense-Expression: BSD-3-Clause\n"
    ),
}


def image(**changed):
    """The file system of an image as `docker export` writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in {**FILES, **changed}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("usr/share/doc/libexpat1-dev")
        link.type, link.linkname = tarfile.SYMTYPE, "libexpat1"
        tar.addfile(link)
    return out.getvalue()


def bill(*options, data=b"", code=0):
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "sbom.py", *options], input=data, capture_output=True
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout), done.stderr.decode()


def test_an_image_lists_the_packages_of_debian_and_of_python_with_their_licences():
    document, _ = bill("--image", data=image())
    assert document["metadata"]["component"]["version"] == "9.9"
    listed = {
        c["purl"]: [entry["license"]["name"] for entry in c["licenses"]] for c in document["components"]
    }
    assert listed == {
        "pkg:pypi/some-thing@1.2": ["BSD-3-Clause"],
        "pkg:deb/debian/libexpat1@2.7.1-2?arch=amd64&distro=debian-13": ["MIT"],
        "pkg:deb/debian/libexpat1-dev@2.7.1-2?arch=amd64&distro=debian-13": ["MIT"],
    }


def test_a_python_package_that_may_not_ship_ends_it():
    path = next(name for name in FILES if "Some_Thing" in name)
    text = "Name: Some_Thing\nVersion: 1.2\nLicense-Expression: AGPL-3.0-only\n"
    _, error = bill("--image", data=image(**{path: text}), code=1)
    assert "some-thing: AGPL-3.0-only" in error


def test_without_an_image_it_lists_the_dependencies_that_are_installed():
    document, _ = bill()
    assert {"rasterio", "numpy", "fastapi"} <= {c["name"] for c in document["components"]}
