"""The STAC API that `stac_server` starts, in the environment of .ci/archive.in: stac-fastapi over a table of Items.

DuckDB's extensions lie in the package rustac-duckdb-extensions, so that none is downloaded.
"""

import rustac_duckdb_extensions
from rustac import DuckdbClient
from stac_fastapi.geoparquet.api import create

database = DuckdbClient(
    extension_directory=rustac_duckdb_extensions.extension_directory(), install_extensions=False
)
app = create(duckdb_client=database).app
