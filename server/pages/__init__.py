"""Pages without outside files: the map, the endpoints, and the documents of titiler.core as HTML."""

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment
from starlette.templating import Jinja2Templates

from terrazzo.mosaic.methods import METHODS
from terrazzo.request.parameters import MEASURED

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1b2a22; max-width: 62em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: 2px 12px 2px 0; }
code, pre { background: #eef2ec; border-radius: 4px; padding: 1px 4px; overflow-wrap: anywhere; white-space: pre-wrap; }
details { margin: 6px 0; } summary { cursor: pointer; }
</style></head><body>
"""
ENDPOINTS = (
    HEAD
    + """<h1>{{ title }}</h1>
<p>{{ description }} The same for machines: <a href="openapi.json">openapi.json</a>. The <a href="./">map</a>, the <a href="help">documentation</a>.</p>
{% for tag, operations in groups.items() %}<h2>{{ tag }}</h2>
{% for operation in operations %}<details><summary><code>GET {{ operation.path }}</code> {{ operation.summary }}</summary>
<table>{% for p in operation.parameters %}<tr><th><code>{{ p.name }}</code></th><td>{{ p.description or p.in }}</td></tr>
{% endfor %}</table></details>
{% endfor %}{% endfor %}</body></html>"""
)
NO_HELP = (
    HEAD
    + """<h1>{{ title }}</h1>
<p>This server has no built documentation. In a clone of the repository <code>make docs</code> builds it; a server that is started from there then shows it here.</p>
<p>The same pages as Markdown lie in the clone's folder <code>docs</code>: <a href="{{ source }}">read them in the repository</a>. The <a href="docs">endpoints</a>, the <a href="./">map</a>.</p>
</body></html>"""
)
DOCUMENT = (
    HEAD.replace("{{ title }}", "{{ template.title }}")
    + """<h1>{{ template.title }}</h1><p>As <a href="?f=json">JSON</a>; all <a href="{{ template.api_root }}/docs">endpoints</a>.</p>
<pre>{{ shown(response) }}</pre></body></html>"""
)
NAMES = ("tilematrixsets", "tilematrixset", "colormaps", "colormap", "algorithms", "algorithm")


def _shown(response: Any) -> str:
    return json.dumps(response, indent=1, default=str)


def templates() -> Jinja2Templates:
    """Templates for titiler.core's endpoints; its own load scripts from elsewhere, which our policy forbids."""
    environment = Environment(loader=DictLoader({f"{n}.html": DOCUMENT for n in NAMES}), autoescape=True)
    environment.globals["shown"] = _shown
    return Jinja2Templates(env=environment)


def endpoints(openapi: dict[str, Any]) -> str:
    """The page of all endpoints and their parameters."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in openapi["paths"].items():
        if "get" in methods:
            operation = methods["get"]
            shown = {
                "path": path,
                "summary": operation.get("description") or operation.get("summary", ""),
                "parameters": operation.get("parameters", []),
            }
            groups.setdefault(operation.get("tags", ["Other"])[0], []).append(shown)
    template = Environment(autoescape=True).from_string(ENDPOINTS)
    about = openapi["info"]
    return template.render(title=about["title"], description=about.get("description", ""), groups=groups)


def no_help(source: str) -> str:
    """The page in the place of documentation that was not built.

    Args:
        source: address of the pages' folder in the repository.
    """
    return Environment(autoescape=True).from_string(NO_HELP).render(title="Documentation", source=source)


@lru_cache(maxsize=4)
def viewer(
    stamp: str,
    modules: tuple[str, ...],
    title: str,
    labels: str,
    labels_attribution: str,
    *,
    has_help: bool,
    has_looks: bool,
) -> str:
    """The page of the map; its menus have the choices of the table of parameters.

    Args:
        stamp: of the map's files, a part of their addresses.
        modules: names of the scripts that the first one imports, for browsers to fetch all at once.
        labels: address of tiles with place names; empty for none.
        has_help: whether the server shows the documentation.
        has_looks: whether a first look will come where there is no mosaic yet.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("terrazzo.server.pages").joinpath("map.html.j2").read_text())
    return template.render(
        stamp=stamp,
        modules=modules,
        title=title,
        labels=labels,
        labels_attribution=labels_attribution,
        has_help=has_help,
        has_looks=has_looks,
        stages=MEASURED["stage"].choices,
        methods=METHODS,
    )
