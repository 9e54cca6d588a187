"""Files behind signed addresses come, and a token that runs out on the way is renewed."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from terrazzo.errors import ArchiveError
from terrazzo.precompute.acquire.archives import ARCHIVES
from terrazzo.precompute.acquire.download import Unreachable, download
from terrazzo.precompute.acquire.opener import Opener
from terrazzo.precompute.acquire.search import RemoteFile

CONTENT = b"a band" * 5000
HREF = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/06/V/VN/B02.bin"


class Azure:
    """A token service and a blob container that takes only one token; renewing makes another one good."""

    def __init__(self) -> None:
        self.good, self.given = 2, 0
        self.served: list[str] = []

    def answer(self, path: str) -> tuple[int, bytes]:
        if path.startswith("/token/"):
            self.given += 1
            expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            return 200, json.dumps({"msft:expiry": expiry, "token": f"sv=1&sig=t{self.given}"}).encode()
        self.served.append(path)
        return (200, CONTENT) if path.endswith(f"sig=t{self.good}") else (403, b"signature has expired")


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    """The service, where the environment leads to it."""
    service = Azure()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            code, body = service.answer(self.path)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"one"')
            self.send_header("Last-Modified", "Tue, 15 Aug 2023 10:00:00 GMT")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("PC_SDK_SAS_URL", f"{address}/token")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", address)
    yield service
    server.shutdown()
    server.server_close()


def fetch(folder: Path) -> Path:
    opener = Opener(ARCHIVES["planetary-computer"])
    file = RemoteFile("B02", HREF, "B02.bin", len(CONTENT), None)
    download(opener, file, folder, lambda size: None, threading.Event())
    return folder / "B02.bin"


def test_an_expired_token_is_renewed_and_the_file_comes(azure: Azure, tmp_path: Path) -> None:
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert [path.rpartition("sig=")[2] for path in azure.served] == ["t1", "t2"]


def test_a_file_that_is_refused_with_every_token_is_reported_and_leaves_nothing(
    azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.good = 0
    monkeypatch.setattr("terrazzo.precompute.acquire.download.ATTEMPTS", 2)
    with pytest.raises(Unreachable, match="planetary-computer refuses"):
        fetch(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_archive_that_needs_keys_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CDSE_S3_ACCESS_KEY", "CDSE_S3_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ArchiveError, match="CDSE_S3_ACCESS_KEY"):
        Opener(ARCHIVES["cdse"]).open("s3://eodata/Sentinel-2/MSI/L2A/x.jp2")
    with pytest.raises(ArchiveError, match="AWS_ACCESS_KEY_ID"):
        Opener(ARCHIVES["earth-search"]).open("s3://sentinel-s2-l1c/tiles/27/V/WK/2024/2/6/0/B02.jp2")


@pytest.mark.parametrize("href", ["B02.tif", "ftp://host/B02.tif", "s3://bucket/", "file:///etc/passwd"])
def test_only_addresses_of_archives_are_read(href: str) -> None:
    with pytest.raises(ArchiveError, match="no address"):
        Opener(ARCHIVES["earth-search"]).open(href)
