"""The units of systemd and the page that brings them up: checked by systemd's own tools, and run by a systemd of the test's own."""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing

pytestmark = pytest.mark.needs("systemd")
UNITS = ("terrazzo.service", "terrazzo-watch.service", "terrazzo-watch.timer")
PAGES = tuple(ROOT / "docs" / "operate" / name for name in ("debian.md", "backup.md"))
TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/729.png"
FETCHED = ("apt-get", "python3 -m venv", "/opt/terrazzo/bin/pip")
"""Commands that need the network; in the test a wrapper stands in their place that starts this checkout."""


def test_systemd_understands_the_units(tmp_path):
    for name in UNITS:
        text = (ROOT / "docker" / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/terrazzo/bin/terrazzo", "/bin/true"))
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / n for n in UNITS)],
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert "terrazzo" not in told.stderr, told.stderr


@pytest.mark.parametrize("name", UNITS[:2])
def test_the_units_start_commands_that_exist(name):
    text = (ROOT / "docker" / name).read_text()
    start = re.search(r"^ExecStart=/opt/terrazzo/bin/terrazzo (\w+) (.*)$", text, re.MULTILINE)
    terrazzo = Path(sys.executable).parent / "terrazzo"
    told = subprocess.run([terrazzo, start[1], "--help"], capture_output=True, text=True).stdout
    assert all(option in told for option in re.findall(r"--[a-z-]+", start[2]))


@pytest.mark.parametrize("name", UNITS[:2])
def test_the_services_are_shut_in(name):
    """An exposure of at most 2.0 of 10, as systemd counts it; 9.6 is a service without any limit."""
    tool = "systemd-analyze"
    told = subprocess.run(
        [tool, "security", "--offline=true", "--threshold=20", ROOT / "docker" / name],
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout + told.stderr


OUTER = """
for top in /sys/fs/cgroup/systemd /sys/fs/cgroup; do
  if [ -w $top/cgroup.procs ]; then mkdir $top/$2; echo $$ > $top/$2/cgroup.procs; break; fi
done
exec unshare --mount --pid --fork --cgroup --ipc --uts --net --kill-child=KILL --propagation private sh -e "$1/inner.sh" "$@"
"""
INNER = """
ip link set lo up
mount -t tmpfs tmpfs $1/base
mkdir $1/base/up $1/base/work $1/base/root
mount -t overlay overlay -o lowerdir=/,upperdir=$1/base/up,workdir=$1/base/work $1/base/root
cd $1/base/root
mkdir -p opt/src opt/site opt/python opt/terrazzo/bin old
mount --bind $3 opt/src
mount --bind $4 opt/site
# The services see no home, where a Python may lie.
mount --bind $5 opt/python
cp $1/terrazzo opt/terrazzo/bin/
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
if [ -d /sys/fs/cgroup/systemd ]; then
  mount -t tmpfs tmpfs sys/fs/cgroup
  mkdir sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
else
  mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
for place in run tmp var/lib/terrazzo var/cache/terrazzo; do mkdir -p $place; mount -t tmpfs tmpfs $place; done
umount var/lib/terrazzo var/cache/terrazzo
rmdir var/lib/terrazzo var/cache/terrazzo
# Nothing of the host's is started but the journal.
rm -rf etc/systemd/system/*.wants etc/fstab lib/systemd/system/local-fs.target.wants lib/systemd/system/multi-user.target.wants
find lib/systemd/system/sysinit.target.wants lib/systemd/system/sockets.target.wants lib/systemd/system/timers.target.wants \
  -type l ! -name 'systemd-journald*' -delete 2>/dev/null || true
printf '[Unit]\\nDescription=Nothing\\nDefaultDependencies=no\\n' > etc/systemd/system/nothing.target
pivot_root . old
umount -l old
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=nothing.target --show-status=no
"""


class Machine:
    """A Debian with a systemd of its own: this machine's files, changed for itself alone, and no network."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", "--target", str(pid), "--mount", "--uts", "--ipc", "--pid", "--net"]

    def run(self, script: str) -> str:
        """What a script writes, run as root in the checkout; it must succeed."""
        done = self.tried(script)
        assert done.returncode == 0, (
            f"{script}\n{done.stdout}{done.stderr}{self.tried('journalctl --no-pager -n 40').stdout}"
        )
        return done.stdout

    def tried(self, script: str) -> subprocess.CompletedProcess[str]:
        """The same of a script that may fail."""
        command = [*self._enter, "--", "sh", "-ec", f"cd /opt/src\n{script}"]
        return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)

    def fetched(self, url: str, *options: str) -> bytes:
        """The body of an answer; an error of HTTP is one."""
        script = ["python3", "-c", FETCH, url, *options]
        done = subprocess.run(
            [*self._enter[:3], "--net", "--", *script], capture_output=True, env=ENVIRONMENT
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def wait(self, script: str) -> None:
        """Waits until a script succeeds."""
        for _ in range(1200):
            if (done := self.tried(script)).returncode == 0:
                return
            time.sleep(0.25)
        pytest.fail(f"{script}: {done.stdout}{done.stderr}{self.tried('journalctl --no-pager -n 60').stdout}")


ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
FETCH = """
import sys, urllib.request
url, *options = sys.argv[1:]
data, key = (options + ["", ""])[:2]
asked = urllib.request.Request(url, data.encode() or None, {"X-API-Key": key, "Content-Type": "application/json"})
sys.stdout.buffer.write(urllib.request.urlopen(asked, timeout=300).read())
"""
WRAPPER = """#!/bin/sh
exec env PYTHONPATH=/opt/src:/opt/site LD_LIBRARY_PATH=/opt/python/lib {python} -P -c 'from terrazzo.cli import main; main()' "$@"
"""
EMPTY_ARCHIVE = """
import http.server, json
class Archive(http.server.BaseHTTPRequestHandler):
    def answer(self):
        told = {"type": "FeatureCollection", "features": [], "links": []} if "search" in self.path else {
            "type": "Catalog", "id": "empty", "stac_version": "1.0.0", "description": "nothing",
            "conformsTo": ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"],
            "links": [{"rel": "search", "href": "http://127.0.0.1:9000/search", "method": "POST", "type": "application/geo+json"}]}
        self.send_response(200); self.send_header("Content-Type", "application/json"); self.end_headers()
        self.wfile.write(json.dumps(told).encode())
    do_GET = do_POST = answer
http.server.HTTPServer(("127.0.0.1", 9000), Archive).serve_forever()
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which nothing of Terrazzo is set up, but its programs are there."""
    if (
        os.geteuid()
        or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode
    ):
        missing("namespaces of its own need root: sudo make test")
    folder = tmp_path_factory.mktemp("machine")
    (folder / "base").mkdir()
    (folder / "inner.sh").write_text(INNER)
    inside = Path("/opt/python", Path(sys.executable).resolve().relative_to(sys.base_prefix))
    (folder / "terrazzo").write_text(WRAPPER.format(python=inside))
    (folder / "terrazzo").chmod(0o755)
    name = f"terrazzo-test-{os.getpid()}"
    site = next(p for p in sys.path if p.endswith("site-packages"))
    command = ["sh", "-ec", OUTER, "sh", folder, name, ROOT, site, sys.base_prefix]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while (first := _systemd(process.pid)) is None:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        made = Machine(first)
        made.wait("systemctl list-units >/dev/null")
        yield made
    finally:
        process.kill()
        process.wait(20)
        for top in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup"):
            if Path(top, name).is_dir():
                for _ in range(100):
                    clear = ["find", Path(top, name), "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]
                    if subprocess.run(clear, capture_output=True).returncode == 0:
                        break
                    time.sleep(0.1)


def _systemd(parent: int) -> int | None:
    """The process of systemd that another one started, once it is there."""
    try:
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
    except FileNotFoundError:
        pass
    return None


def commands(section: str) -> str:
    """The commands of a section of the pages, without those that need the network."""
    pages = "\n".join(page.read_text() for page in PAGES)
    text = re.search(rf"^## {section}\n(.*?)(?=^##? |\Z)", pages, re.MULTILINE | re.DOTALL)[1]
    lines = textwrap.dedent("\n".join(li for li in text.splitlines() if li.startswith("    "))).splitlines()
    return "\n".join(li for li in lines if not li.startswith(FETCHED))


@pytest.mark.slow
@pytest.mark.clients
@pytest.mark.needs("nginx")
def test_the_page_brings_server_watch_and_nginx_up_and_back_and_takes_them_away(machine):
    machine.run(commands("Install"))
    direct, front = "http://127.0.0.1:8000", "http://127.0.0.1"
    machine.wait(f"python3 -c \"import urllib.request as u; u.urlopen('{direct}/healthz')\"")
    tile = machine.fetched(direct + TILE)
    assert tile.startswith(b"\x89PNG")
    assert machine.fetched(front + TILE) == tile
    assert machine.run("ps -o user= -p $(systemctl show -p MainPID --value terrazzo)").strip() == "terrazzo"

    machine.run("echo TERRAZZO_PUBLIC_URL=http://maps.example.org >> /etc/terrazzo.env")
    key = machine.run(commands("Keys")).strip()
    machine.wait(f"python3 -c \"import urllib.request as u; u.urlopen('{direct}/healthz')\"")
    order = json.dumps({"bbox": [15.95, 45.8, 15.98, 45.82], "bands": ["B04"]})
    exports = f"{front}/mosaics/mosaic/exports"
    job = f"{exports}/{json.loads(machine.fetched(exports, order, key))['jobID']}"
    while (told := json.loads(machine.fetched(job, "", key)))["status"] in ("accepted", "running"):
        time.sleep(0.2)
    assert told["status"] == "successful", told
    with pytest.raises(AssertionError, match="401"):
        machine.fetched(exports, order)

    machine.run(
        "echo 'AREA=--tile 33TWL --datetime 2023-08 --archive http://127.0.0.1:9000' > /etc/terrazzo-watch.env"
    )
    failed = machine.tried("systemctl start terrazzo-watch")
    assert failed.returncode != 0
    numbers = "/var/lib/terrazzo-metrics/terrazzo.prom"
    assert "terrazzo_pass_exit_code 1" in machine.run(f"su -s /bin/sh nobody -c 'cat {numbers}'")
    machine.run(f"systemd-run --quiet --unit=archive python3 -c '{EMPTY_ARCHIVE}'")
    machine.wait("python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:9000/')\"")
    machine.run(commands("Fill it"))
    assert "terrazzo_pass_exit_code 3" in machine.run(f"cat {numbers}")
    assert "terrazzo-watch.timer" in machine.run("systemctl list-timers --all --no-pager")

    machine.run(commands("Backup"))
    machine.run(commands("Restore"))
    machine.run(
        "sed -i s#/srv/terrazzo/store#/srv/terrazzo/restored/store# /etc/terrazzo.env; rm -rf /srv/terrazzo/store"
    )
    machine.run(
        "tar -C /var/lib/terrazzo -xpf /var/backups/terrazzo-keys.tar; rm -rf /var/cache/terrazzo/* ; systemctl restart terrazzo"
    )
    machine.wait(f"python3 -c \"import urllib.request as u; u.urlopen('{direct}/healthz')\"")
    assert machine.fetched(direct + TILE) == tile
    assert json.loads(machine.fetched(exports, "", key))["jobs"]

    machine.run(commands("Uninstall"))
    left = machine.run(
        "find / -xdev -iname '*terrazzo*' -not -path '/opt/*' -not -path '/proc/*' -not -path '/tmp/*' 2>/dev/null || true"
    )
    assert [
        line for line in left.splitlines() if line.startswith(("/etc", "/srv", "/var/lib", "/var/cache"))
    ] == []
    assert machine.tried("id terrazzo").returncode != 0
