"""Our PNGs show what a plain stretch by table does."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from terrazzo.bands import NODATA
from terrazzo.server.png import png, table

COUNTS = st.one_of(st.integers(-32767, 32767), st.sampled_from([NODATA, 0, 300, 3000]))


@given(st.data(), st.sampled_from([1, 3]), st.booleans())
def test_a_png_shows_the_stretched_values_and_is_clear_where_a_band_has_no_data(data, bands, holes):
    elements = COUNTS if holes else st.integers(-32767, 32767)
    values = data.draw(arrays(np.int16, (bands, 5, 6), elements=elements, fill=st.just(400)))
    pairs, there = ((0.0, 0.3), (0.01, 0.2), (0.0, 1.0))[:bands], (values != NODATA).all(axis=0)
    shown = np.asarray(Image.open(io.BytesIO(png(values, pairs, 1.0))).convert("RGBA"))
    tables = [table(*pair, 1.0) for pair in pairs]
    colours = np.stack([t[v.astype(int) + 32768] for t, v in zip(tables, values, strict=True)], axis=-1)
    assert (shown[..., 3] == np.where(there, 255, 0)).all()
    assert (shown[..., :3] == np.where(there[..., None], colours, 0)).all()
