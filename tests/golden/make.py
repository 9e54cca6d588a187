"""Makes the golden store: `python -m tests.golden.make`.

One simulated scene pair of 96 × 96 pixels, precomputed by a release that wrote the format before today's (1). Today's
reader must open it, and `terrazzo store upgrade` upgrade it. Made anew, before it is raised, when the format is raised again.
"""

import json
import shutil
import tempfile
from pathlib import Path

from tests.chain import native, precompute
from tests.world.sky import View
from tests.world.worlds import Weather, make_world

HERE = Path(__file__).parent
STORE = HERE / "store"
PLACE = (40, 50)
"""Row and column, from the first scene's corner, of the pixels whose values are noted."""


def main() -> None:
    """Replaces the store and the values noted beside it."""
    with tempfile.TemporaryDirectory() as folder:
        weather = Weather(gain=0.05, cloud=0.2)
        make_world(Path(folder), seed=7, dates=2, size=(96, 96), weather=weather, view=View())
        shutil.rmtree(STORE, ignore_errors=True)
        done, _ = precompute(Path(folder), STORE)
    shutil.rmtree(STORE / ".scratch", ignore_errors=True)
    version = done.version
    assert version is not None
    # The one file that names where the store lies; other software reads it, a server does not.
    (STORE / f"mosaics/mosaic/versions/{version.name}/mosaicjson.json").unlink()
    values = {}
    for method in ("feather", "first", "mean", "median", "robust"):
        for normalize in (True, False):
            image = native(
                version, version.entries("all")[0].scene.box, 32633, method=method, normalize=normalize
            )
            values[f"{method} {'on' if normalize else 'off'}"] = image.values[:, *PLACE].tolist()
    (HERE / "values.json").write_text(
        json.dumps({"version": version.name, "values": values}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
