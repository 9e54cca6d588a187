"""What is shipped as images runs as it is shipped: read-only, by a user without rights, as compose.yaml says."""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from importlib.metadata import entry_points
from uuid import uuid4

import obstore
import pytest
import rasterio
import yaml

from tests.conftest import ROOT, missing
from tests.images.engine import built, needed
from tests.world import archive as world
from tests.world.line import Line

# Once for all of them, not in each.
needed()
pytestmark = [pytest.mark.slow, pytest.mark.clients]
COMPOSE = ROOT / "docker" / "compose.yaml"
TILE = "/mosaics/mosaic/tiles/WebMercatorQuad/11/1113/729.png"
LOCKED = [
    *("--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--network", "none"),
]
LACKING = (
    "find /opt/terrazzo -name '*.so*' ! -name omppool.* ! -name tbbpool.* -exec ldd {} + 2>/dev/null"
    " | awk '/not found/ {print $1}' | sort -u"
    ' | while read -r name; do find /opt/terrazzo -name "$name" | grep -q . || echo "$name"; done'
)
"""Lists libraries that others need and that are nowhere; two pools of threads are numba's, which ours do not use."""
CAPABILITIES = {"CHOWN": 0, "SETGID": 6, "SETUID": 7, "NET_BIND_SERVICE": 10}
"""Their bits, of capabilities(7)."""


@pytest.fixture(scope="module")
def engine():
    return built()


class Stack:
    """The services of compose files, copied to a folder, under a name and on a port of their own."""

    def __init__(self, engine, folder, *files):
        self.engine, self.folder = engine, folder / "docker"
        self.folder.mkdir()
        for file in (COMPOSE, *files):
            shutil.copy(file, self.folder)
        self.files = [self.folder / file.name for file in (COMPOSE, *files)]
        shutil.copy(ROOT / "nginx.conf", folder)
        self.name, self.port = f"t{uuid4().hex[:8]}", world.free_port()
        self.variables = {"PORT": str(self.port)}

    def __call__(self, *arguments):
        return self.engine.compose(self.name, self.files, *arguments, **self.variables)

    def __enter__(self):
        # Each waits for the one before to be healthy, as `depends_on` says; that takes systemd or a test.
        try:
            for service in ("server", "nginx"):
                self("up", "-d", "--no-build", "--no-deps", service)
                self.engine.until_healthy(self.container(service))
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self("--profile", "tools", "down", "-v")

    def container(self, service):
        return f"{self.name}_{service}_1"

    def tool(self, *arguments):
        """What a command of the tools' service wrote. (Docker's compose turns a named service's profile on by itself.)"""
        return self("--profile", "tools", "run", "--rm", *arguments)

    def inside(self, service, script):
        """What a shell in a running service wrote."""
        return self.engine.podman("exec", self.container(service), "sh", "-c", script)

    def get(self, path, body=None, **headers):
        """Status, headers and body of an answer that came through nginx, of refusals too."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def patiently(self, path, **headers):
        """The same, asked again where nginx limits a rate, or a busy machine took longer than the server's deadline."""
        while (answer := self.get(path, **headers))[0] in (429, 503):
            time.sleep(1)
        return answer


@pytest.fixture(scope="module")
def stack(engine, tmp_path_factory):
    """Server and nginx over an empty store, both healthy."""
    with Stack(engine, tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def filled(stack):
    """The same after the sample was precomputed, without a restart."""
    status, _, told = stack.get("/readyz")
    assert (status, "terrazzo precompute" in told.decode()) == (503, True)
    assert stack.get("/")[0] == 200
    stack.tool("terrazzo", "precompute", "sample", "--store", "/store")
    while stack.get("/readyz")[0] == 503:
        time.sleep(0.5)
    return stack


def test_every_command_is_there_and_every_library_finds_those_it_needs(engine):
    told = engine.podman("run", "--rm", *LOCKED, "--tmpfs", "/tmp", "terrazzo", "--help")
    for command in entry_points(group="terrazzo.commands"):
        assert re.search(rf"^  {command.name} +\S", told, re.MULTILINE), told
    assert "not installed" not in told
    assert engine.podman("run", "--rm", *LOCKED, "--entrypoint", "sh", "terrazzo", "-c", LACKING) == ""


def test_a_user_without_rights_runs_it_and_cannot_change_it(engine):
    shell = ["run", "--rm", *LOCKED, "--entrypoint", "sh", "terrazzo", "-c"]
    assert engine.podman(*shell, "id -u; python -V").startswith("10001\nPython 3.13")
    told = engine.podman(*shell, "touch /store/x && touch /opt/terrazzo/x", fails=True)
    assert "/opt/terrazzo/x': Read-only file system" in told


def test_it_holds_all_that_is_compiled_for_pictures(engine):
    log = engine.podman(
        "run", "--rm", *LOCKED, "--tmpfs", "/tmp", "-e", "NUMBA_DEBUG_CACHE=1", "terrazzo", "warm"
    )
    assert "[cache] data loaded from" in log
    assert "[cache] data saved to" not in log


@pytest.mark.parametrize("service", ["server", "nginx"])
def test_a_service_runs_with_the_rights_that_compose_gives_it(stack, service):
    given = yaml.safe_load(COMPOSE.read_text())["services"][service]
    assert given["read_only"]
    assert given["cap_drop"] == ["ALL"]
    status = dict(re.findall(r"(\w+):\s+(\w+)", stack.inside(service, "cat /proc/1/status")))
    assert int(status["CapBnd"], 16) == sum(1 << CAPABILITIES[name] for name in given.get("cap_add", ()))
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"] == {"server": "10001", "nginx": "0"}[service]
    assert "Read-only file system" in stack.inside(service, "touch /here 2>&1 || true")


def test_the_first_mosaic_is_served_through_nginx_and_kept_by_it(filled, sample_store):
    first, again = filled.patiently(TILE), filled.get(TILE)
    assert first[0] == 200
    assert first[2][:4] == b"\x89PNG"
    assert (first[1]["X-Cache-Status"], again[1]["X-Cache-Status"]) == ("MISS", "HIT")
    made = json.loads(filled.get("/mosaics/mosaic")[2])["terrazzo:version"]
    here = json.loads((sample_store / "mosaics" / "mosaic" / "mosaic.json").read_text())["terrazzo:version"]
    assert made == here, "the image's Python computes other pixels than this one"


def test_an_export_that_was_ordered_with_a_key_comes_through_nginx(filled, tmp_path):
    told = filled.tool("terrazzo", "keys", "--store", "/store", "add", "Anna", "--scope", "export")
    key = re.search(r"tz_\w{8}_[\w-]{43}", told)[0]
    body = json.dumps({"bbox": [15.95, 45.8, 15.98, 45.82], "bands": ["B04"], "extras": "none"}).encode()
    address = "/mosaics/mosaic/exports"
    asked = {"Content_Type": "application/json"}
    assert filled.get(address, body, **asked)[0] == 401
    status, _, told = filled.get(address, body, **asked, X_API_Key=key)
    assert status == 201, told
    job = f"{address}/{json.loads(told)['jobID']}"
    while (found := json.loads(filled.patiently(job, X_API_Key=key)[2]))["status"] in ("accepted", "running"):
        time.sleep(0.5)
    assert found["status"] == "successful", found
    results = json.loads(filled.patiently(f"{job}/results", X_API_Key=key)[2])
    name = next(n for n in results if n.endswith(".tif"))
    (tmp_path / name).write_bytes(filled.patiently(f"{job}/results/{name}", X_API_Key=key)[2])
    with rasterio.open(tmp_path / name) as raster:
        assert raster.descriptions == ("B04",)
        assert (raster.read(1) != raster.nodata).mean() > 0.9


def test_the_commands_that_look_after_a_store_run_as_tools(filled, tmp_path):
    tmp_path.chmod(0o777)
    box = ["--bbox", "15.95", "45.8", "15.98", "45.82", "--bands", "B04", "--extras", "none"]
    filled.tool("-v", f"{tmp_path}:/out", "terrazzo", "export", "--store", "/store", *box, "-o", "/out/a.tif")
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert raster.count == 1
    for command in (["store", "verify"], ["prune", "--store"], ["versions", "--store"]):
        filled.tool("terrazzo", *command, "/store")


def test_a_stop_ends_the_server_cleanly(engine, tmp_path):
    with Stack(engine, tmp_path) as stack:
        stack("stop", "server")
        code = engine.podman("inspect", "--format", "{{.State.ExitCode}}", stack.container("server"))
        assert code.strip() == "0"


def test_a_store_in_an_object_store_is_served_with_keys_from_files(engine, sample_store, tmp_path):
    try:
        world.programs()
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"the servers of .ci/archive.in cannot be installed: {getattr(error, 'stderr', error)}")
    with world.s3_server(tmp_path, {}, "moto") as address:
        objects = world.bucket(address)
        for path in sorted(p for p in sample_store.rglob("*") if p.is_file()):
            obstore.put(objects, f"store/{path.relative_to(sample_store)}", path.read_bytes())
        with Line(address, "0.0.0.0") as line:
            stack = Stack(engine, tmp_path, COMPOSE.with_name("compose.s3.yaml"))
            # Containers see this machine under their network's gateway, and not its 127.0.0.1.
            network = f"{stack.name}_default"
            engine.podman("network", "create", network)
            gateway = "{{(index .Subnets 0).Gateway}}"
            host = engine.podman("network", "inspect", "--format", gateway, network).strip()
            endpoint = f"{host}:{line.port}"
            stack.variables |= {
                "TERRAZZO_S3": f"s3://{world.BUCKET}/store",
                "AWS_ENDPOINT_URL": f"http://{endpoint}",
                "AWS_S3_ENDPOINT": endpoint,
                "AWS_ALLOW_HTTP": "true",
                "AWS_HTTPS": "NO",
            }
            (stack.folder / "secrets").mkdir()
            for name, key in (("s3_key", "AWS_ACCESS_KEY_ID"), ("s3_secret", "AWS_SECRET_ACCESS_KEY")):
                (stack.folder / "secrets" / name).write_text(world.KEYS[key])
            with stack:
                assert json.loads(stack.get("/readyz")[2])["mosaics"] == ["mosaic"]
                assert stack.patiently(TILE)[2][:4] == b"\x89PNG"
                told = engine.podman("inspect", stack.container("server"))
                assert world.KEYS["AWS_SECRET_ACCESS_KEY"] not in told
                listed = stack.tool("terrazzo", "versions", "--store", stack.variables["TERRAZZO_S3"])
                assert re.match("[0-9a-f]{12} .* 10 scenes  current", listed)
