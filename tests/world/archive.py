"""An archive on this machine: a STAC API and an S3 server, both programs of others, with the sample's products."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import obstore
from obstore.store import S3Store

from terrazzo.precompute import sample
from tests.waiting import PATIENCE, until

BUCKET = "sentinel"
KEYS = {"AWS_ACCESS_KEY_ID": "kit", "AWS_SECRET_ACCESS_KEY": "kitsecret", "AWS_REGION": "us-east-1"}
ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "build" / "archive"


@dataclass(frozen=True)
class Archive:
    """Addresses of a STAC API and of the S3 server its Items point to."""

    stac: str
    s3: str

    def environment(self, s3: str | None = None) -> dict[str, str]:
        """What a process needs to read from it."""
        return {**os.environ, **KEYS, "AWS_ENDPOINT_URL": s3 or self.s3}


def sample_items(ids: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """The sample's Items with their assets in the bucket."""
    items = []
    for path in sorted(sample.path().glob("*.json")):
        item = json.loads(path.read_text())
        if ids is None or item["id"] in ids:
            for asset in item["assets"].values():
                asset["href"] = f"s3://{BUCKET}/{asset['href'].removeprefix('./')}"
            items.append(item)
    return items


def programs() -> Path:
    """The Python of an environment of its own with the servers; made at the first call.

    Raises:
        subprocess.CalledProcessError: the packages cannot be had.
    """
    PROGRAMS.parent.mkdir(exist_ok=True)
    with (PROGRAMS.parent / "archive.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python, ready = PROGRAMS / "bin" / "python", PROGRAMS / ".ready"
        wanted = (ROOT / ".ci" / "archive.in").read_text()
        if not ready.exists() or ready.read_text() != wanted:
            uv = [Path(sys.executable).parent / "uv"]
            run = {"check": True, "capture_output": True, "text": True}
            subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, PROGRAMS], **run)
            install = ["pip", "install", "--quiet", "--python", python, "-r", ROOT / ".ci" / "archive.in"]
            subprocess.run([*uv, *install], **run)
            ready.write_text(wanted)
    return python


Kind = Literal["moto", "seaweedfs"]


@contextmanager
def s3_server(folder: Path, files: Mapping[str, bytes], kind: Kind = "moto") -> Iterator[str]:
    """An S3 server with a bucket of files; yields its address. SeaweedFS checks signatures, Moto takes any."""
    port = free_port()
    with (_moto if kind == "moto" else _seaweed)(folder, port):
        address = f"http://127.0.0.1:{port}"
        for key, content in files.items():
            obstore.put(bucket(address), key, content)
        yield address


@contextmanager
def _moto(folder: Path, port: int) -> Iterator[None]:
    command = [programs().parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with _server(command, folder / "s3.log", port):
        _ask(f"http://127.0.0.1:{port}/{BUCKET}", "PUT", _SIGNED)
        yield


@contextmanager
def _seaweed(folder: Path, port: int) -> Iterator[None]:
    data, keys = folder / "weed", folder / "s3.json"
    data.mkdir()
    who = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    keys.write_text(json.dumps({"identities": [{"name": "kit", "credentials": [who], "actions": actions}]}))
    command: list[Any] = [programs().parent / "weed", f"-logdir={folder}"]
    command += ["server", f"-dir={data}", "-ip=127.0.0.1", "-s3"]
    command += ["-ip.bind=127.0.0.1", f"-s3.config={keys}", f"-s3.port={port}", "-volume.max=20"]
    command += ["-master.volumeSizeLimitMB=512"]
    ports = {}
    for part in ("master", "volume", "filer"):
        ports[part] = free_port()
        command += [f"-{part}.port={ports[part]}", f"-{part}.port.grpc={free_port()}"]
    # Its other listeners have ports of their own, which a second server would find taken.
    command += [f"-s3.port.grpc={free_port()}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    # A bucket is a folder of its filer, which comes up before the volumes do.
    with _server(command, folder / "s3.log", port) as weed:
        until(lambda: _has_bucket(port, ports["filer"]), weed)
        yield


def _has_bucket(port: int, filer: int) -> bool:
    """Makes SeaweedFS's bucket, once it can."""
    try:
        _ask(f"http://127.0.0.1:{filer}/buckets/{BUCKET}/", "POST", {})
        obstore.put(bucket(f"http://127.0.0.1:{port}"), "ready", b"yes")
    except (OSError, obstore.exceptions.BaseError):
        return False
    return True


def _ask(address: str, method: str, headers: Mapping[str, str]) -> None:
    asked = urllib.request.Request(address, method=method, headers=dict(headers))
    urllib.request.urlopen(asked, timeout=PATIENCE).close()


def bucket(address: str) -> S3Store:
    """The bucket of an S3 server, open for the tests' own changes."""
    return S3Store(
        BUCKET,
        endpoint=address,
        access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )


@contextmanager
def stac_server(folder: Path, items: list[dict[str, Any]]) -> Iterator[str]:
    """A STAC API over Items; yields its address."""
    python, port = programs(), free_port()
    table = write_table(folder, items)
    command = [
        python,
        "-m",
        "uvicorn",
        "stac_app:app",
        "--app-dir",
        Path(__file__).parent,
        "--host",
        "127.0.0.1",
    ]
    environment = {**os.environ, "STAC_FASTAPI_GEOPARQUET_HREF": str(table), "PYTHONDONTWRITEBYTECODE": "1"}
    log = folder / "stac.log"
    with _server([*command, "--port", str(port), "--proxy-headers"], log, port, environment):
        yield f"http://127.0.0.1:{port}"


def write_table(folder: Path, items: list[dict[str, Any]]) -> Path:
    """The table that a STAC API reads at every request, whole."""
    source, table, part = folder / "items.json", folder / "items.parquet", folder / "part.parquet"
    source.write_text(json.dumps(items))
    # At its end rustac's runtime sometimes crashes the interpreter: leave before.
    write = (
        "import asyncio, json, os, rustac, sys\n"
        "async def write(): await rustac.write(sys.argv[2], json.load(open(sys.argv[1])))\n"
        "asyncio.run(write())\n"
        "os._exit(0)"
    )
    subprocess.run([programs(), "-c", write, source, part], check=True, capture_output=True, text=True)
    os.replace(part, table)
    return table


@dataclass(frozen=True)
class Growing:
    """A STAC API whose content changes."""

    stac: str
    folder: Path

    def publish(self, items: list[dict[str, Any]]) -> None:
        """From now on the archive has these Items."""
        write_table(self.folder, items)


def sample_files() -> dict[str, bytes]:
    """The sample's files by their keys in the bucket."""
    root = sample.path()
    return {
        str(f.relative_to(root)): f.read_bytes()
        for folder in sorted(root.iterdir())
        if folder.is_dir() and folder.name.startswith("S2")
        for f in sorted(folder.iterdir())
    }


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _server(
    command: list[Any], log: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, once it answers; what it says is in `log`."""
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        until(lambda: _answers(port), process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            # SeaweedFS takes its time to say good-bye to itself.
            process.kill()
            process.wait(PATIENCE)


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


_SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=kit/20260101/us-east-1/s3/aws4_request"}
