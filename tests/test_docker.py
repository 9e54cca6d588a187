"""Container files, manifest and units: linted, and consistent with what they copy, mount and start."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

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


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_follows_the_specification():
    tool = Path(sys.executable).parent / "check-jsonschema"
    run(tool, "--builtin-schema", "vendor.compose-spec", ROOT / "docker" / "compose.yaml")


def test_every_kubernetes_object_is_valid_and_nobody_is_root():
    import kubernetes_validate

    for document in yaml.safe_load_all((ROOT / "docker" / "kubernetes.yaml").read_text()):
        kubernetes_validate.validate(document, "1.31", strict=True)
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"]
            (container,) = pod["containers"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
            mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
            assert set(mounts) == {v["name"] for v in pod["volumes"]}
            text = (ROOT / "docker" / "server.Dockerfile").read_text()
            assert f"USER {pod['securityContext']['runAsUser']}" in text
            assert {mounts["store"], mounts["cache"]} <= set(re.findall(r'"(/\w+)"', text))


def test_settings_that_the_files_name_exist():
    from terrazzo.server.settings import Settings

    known = {f"TERRAZZO_{name.upper()}" for name in Settings.model_fields} | {"TERRAZZO_S3"}
    for path in (ROOT / "docker").glob("*"):
        if path.is_file():
            assert set(re.findall(r"TERRAZZO_[A-Z0-9_]+", path.read_text())) <= known, path
