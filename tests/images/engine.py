"""A container engine without a registry: Podman over a Debian that mmdebstrap makes, with its storage in build/images.

What was built stays there, so that a second run makes anew only what changed. `python -m tests.images.engine` builds the
images and tells their sizes.
"""

import fcntl
import hashlib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT, missing, program

SUITE = "trixie"
FOLDER = ROOT / "build" / "images"
BASE = f"localhost/base:{SUITE}"
IMAGES = {"terrazzo": "docker/Dockerfile", "terrazzo-nginx": "docker/nginx.Dockerfile"}
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NOISE = re.compile("sandbox cgroup|connect to syslog|get systemd connection|not a TTY")
"""What Podman writes where there is no systemd."""
# Sockets lie here, whose paths must be short.
RUN = Path(tempfile.gettempdir()) / f"images-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"


class Engine:
    """Podman with a storage of its own.

    Raises:
        AssertionError: a command failed; the message is what it wrote.
    """

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._conf = FOLDER / "containers.conf"
        self._conf.write_text(_configuration())
        # What podman-compose calls.
        self._podman = FOLDER / "podman"
        options = f"--root {FOLDER}/storage --runroot {RUN} --storage-driver {_driver()}"
        self._podman.write_text(f'#!/bin/sh\nexec {program("podman", "podman")} {options} "$@"\n')
        self._podman.chmod(0o755)

    def podman(self, *arguments: object, fails: bool = False) -> str:
        """What a command wrote, both streams together."""
        code, text = self._run([self._podman, *arguments])
        assert (code != 0) == fails, f"podman {' '.join(map(str, arguments))}\n{text[-6000:]}"
        return text

    def compose(self, project: str, files: list[Path], *arguments: object, **variables: str) -> str:
        """What a command of podman-compose wrote."""
        tool = Path(sys.executable).parent / "podman-compose"
        named = [option for file in files for option in ("-f", file)]
        command = [tool, "--podman-path", self._podman, "-p", project, *named, *arguments]
        code, text = self._run(command, variables)
        assert code == 0, f"podman-compose {' '.join(map(str, arguments))}\n{text[-6000:]}"
        return text

    def until_healthy(self, container: str) -> None:
        """Runs a container's own check until it is content; systemd would, where there is one."""
        for _ in range(300):
            if self._run([self._podman, "healthcheck", "run", container])[0] == 0:
                return
            running = self.podman("inspect", "--format", "{{.State.Running}}", container).strip()
            assert running == "true", self.podman("logs", container)
            time.sleep(0.5)
        raise AssertionError(self.podman("logs", container))

    def _run(self, command: list[object], variables: dict[str, str] | None = None) -> tuple[int, str]:
        # A file, no pipe: the engine's daemons keep it open when the command has ended.
        with tempfile.TemporaryFile("w+") as told:
            done = subprocess.run(
                [str(c) for c in command],
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                env=os.environ | {"CONTAINERS_CONF": str(self._conf)} | (variables or {}),
            )
            told.seek(0)
            lines = [line for line in told if not NOISE.search(line)]
        return done.returncode, "".join(lines)


def needed() -> None:
    """Skips what follows where a program is missing, with the command that brings it."""
    if os.getuid() != 0:
        missing("images are built by root: run the tests of tests/images as root")
    for name in ("mmdebstrap", "podman", "runc", "iptables"):
        program(name, name)
    for name in ("netavark", "aardvark-dns"):
        if not Path("/usr/lib/podman", name).exists():
            missing(f"{name} is not installed: apt-get install {name}")


def built() -> Engine:
    """An engine that holds all images, as the files in the repository say now."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Tests may run in several processes.
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine = Engine()
        if BASE not in engine.podman("images", "--format", "{{.Repository}}:{{.Tag}}").split():
            _import_base(engine)
        for name, file in IMAGES.items():
            _build(engine, name, file)
    return engine


def _import_base(engine: Engine) -> None:
    tar = FOLDER / "base.tar"
    command = ["mmdebstrap", "--variant=minbase", "--mode=root", SUITE, tar, *_mirror()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    engine.podman("import", tar, BASE)
    tar.unlink()


def _build(engine: Engine, name: str, file: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".env") as index:
        # Where this machine has its packages from, the build has them from too.
        chosen = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "UV_")) and "INDEX" in k}
        index.write("".join(f"{k}='{v}'\n" for k, v in chosen.items()))
        index.flush()
        secrets = ["--secret", f"id=index,src={index.name}"]
        if CERTIFICATES.exists():
            secrets += ["--secret", f"id=ca,src={CERTIFICATES}"]
        options = ["--isolation", "chroot", "--network", "host", "--layers", "--build-arg", f"BASE={BASE}"]
        engine.podman("build", *options, *secrets, "-f", ROOT / file, "-t", f"localhost/{name}", ROOT)


def _mirror() -> list[str]:
    """The mirror of Debian that apt uses here, as an argument of mmdebstrap; nothing where apt tells none: it knows one itself."""
    if not shutil.which("apt-get"):
        return []
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Label: Debian"]
    sites = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return [f"deb {site} {SUITE} main" for site in sites[:1]]


def _driver() -> str:
    """How layers are stored: as overlays, or as copies where the folder's file system cannot lie under one."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        for part in ("lower", "upper", "work", "merged"):
            Path(folder, part).mkdir()
        parts = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        mount = ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", parts, f"{folder}/merged"]
        return "vfs" if subprocess.run(mount, capture_output=True).returncode else "overlay"


def _configuration() -> str:
    """Limits that need no right to raise them, and nothing that only systemd provides."""
    files, processes = (
        min(4096, hard) if (hard := resource.getrlimit(kind)[1]) > 0 else 4096
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC)
    )
    return f"""\
[containers]
default_ulimits = ["nofile=1024:{files}", "nproc={processes}:{processes}"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{FOLDER}/networks"
"""


if __name__ == "__main__":
    needed()
    engine = built()
    print(engine.podman("images", "--filter", "dangling=false", "--format", "{{.Repository}} {{.Size}}"))
