"""The documentation as `make docs` built it, under `/help`."""

import base64
import hashlib
import os
import re
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from terrazzo.server import pages

SITE = Path(str(files("terrazzo.server"))) / "help"
"""Where the built site lies; a release has it, a checkout after `make docs`."""
SOURCE = "https://github.com/terrazzo-mosaic/terrazzo/tree/main/docs"
"""The same pages as Markdown."""
INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class Site(StaticFiles):
    """The files of the built site; its pages run their own scripts alone and ask no other host."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder)
        # The theme has one script inside its pages, the same in all; a policy allows it by its hash.
        scripts = {s.encode() for s in INLINE.findall((folder / "index.html").read_text())}
        hashes = (base64.b64encode(hashlib.sha256(s).digest()).decode() for s in scripts)
        allowed = " ".join(["'self'", *sorted(f"'sha256-{h}'" for h in hashes)])
        self._policy = (
            f"default-src 'none'; script-src {allowed}; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
            " font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
        )

    def file_response(self, *args: object, **options: object) -> Response:
        """A file with the policy of the site."""
        response = super().file_response(*args, **options)  # type: ignore[arg-type]
        response.headers["Content-Security-Policy"] = self._policy
        return response


def add_help(app: FastAPI, folder: Path = SITE) -> None:
    """Adds the documentation; without a built site `/help` says how to get one."""
    has_site = os.path.isfile(folder / "index.html")

    @app.get("/help", include_in_schema=False)
    async def entry(request: Request) -> Response:
        if not has_site:
            headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
            return HTMLResponse(pages.no_help(SOURCE), headers=headers)
        return RedirectResponse(f"{request.scope.get('root_path', '')}/help/index.html")

    if has_site:
        app.mount("/help", Site(folder), name="help")
