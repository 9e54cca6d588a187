"""Settings of a server, read once from `TERRAZZO_*` variables and the command line."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting can be given as an environment variable: `TERRAZZO_STORE`, `TERRAZZO_CACHE_DIR`, …"""

    model_config = SettingsConfigDict(env_prefix="TERRAZZO_", frozen=True)

    store: str = Field(description="folder or address of the store")
    public_url: str | None = Field(
        None, description="address under which clients see the server, path included"
    )
    cache_dir: Path | None = Field(None, description="folder of the tile cache; none: no cache on disk")
    cache_size: int = Field(1 << 30, ge=1 << 20, description="bytes the tile cache may take")
    threads: int = Field(4, ge=1, description="tiles rendered at the same time")
    queue: int = Field(64, ge=1, description="requests that may wait; the next one gets 503")
    follow: float = Field(5.0, ge=0, description="seconds between looks for a new version")
    max_age: int = Field(60, ge=0, description="seconds a client keeps an answer of the current version")
    cors_origins: tuple[str, ...] = Field(("*",), description="origins that may read answers from scripts")
    title: str = "Terrazzo"
    provider: str = Field("", description="name of who runs the service, for WMTS")
