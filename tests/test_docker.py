"""Container files, manifest and units: linted, and consistent with what they copy, mount and start."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "docker").glob("*Dockerfile"))
COMPOSE = sorted((ROOT / "docker").glob("compose*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_hadolint_finds_nothing(file):
    tool = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    assert tool
    done = subprocess.run([tool, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_what_is_copied_exists(file):
    for line in re.findall(r"^COPY (?!--from)(.+)$", file.read_text(), re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split()[:-1])


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", COMPOSE, ids=lambda f: f.name)
def test_compose_follows_the_specification(file):
    run(Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)


@pytest.mark.parametrize("file", COMPOSE, ids=lambda f: f.name)
def test_every_volume_and_secret_of_compose_is_declared_and_every_name_is_one_services(file):
    told = yaml.safe_load(file.read_text())
    services = told["services"].values()
    named = {v.split(":")[0] for s in services for v in s.get("volumes", ()) if v[0] not in "./"}
    assert named == set(told.get("volumes", ()))
    assert {n for s in services for n in s.get("secrets", ())} == set(told.get("secrets", ()))
    assert not any("aliases" in str(s.get("networks")) or "container_name" in s for s in services)


def test_every_kubernetes_object_is_valid_and_nobody_is_root():
    import kubernetes_validate

    for document in yaml.safe_load_all((ROOT / "docker" / "kubernetes.yaml").read_text()):
        kubernetes_validate.validate(document, "1.31", strict=True)
        if document["kind"] in ("Deployment", "Job"):
            pod = document["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"]
            (container,) = pod["containers"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
            mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
            assert set(mounts) == {v["name"] for v in pod["volumes"]}
            text = (ROOT / "docker" / "Dockerfile").read_text()
            assert f"USER {pod['securityContext']['runAsUser']}" in text
            assert set(mounts.values()) - {"/tmp"} <= set(re.findall(r'"(/\w+)"', text))


def test_settings_that_the_files_name_exist():
    from terrazzo.kernel_cache import COMPILED
    from terrazzo.server.settings import Settings

    known = {f"TERRAZZO_{name.upper()}" for name in Settings.model_fields} | {"TERRAZZO_S3", COMPILED}
    for path in (ROOT / "docker").glob("*"):
        if path.is_file():
            assert set(re.findall(r"TERRAZZO_[A-Z0-9_]+", path.read_text())) <= known, path
