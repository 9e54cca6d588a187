import json
import threading
import time

import pytest

from terrazzo.server.bodies import _parsed


@pytest.mark.parametrize("step", [1e-6, 1], ids=["degrees", "whole metres"])
def test_others_have_their_turn_while_a_large_body_is_parsed(step):
    outline = {"type": "Polygon", "coordinates": [[[15 + i * step, 45 + i * step] for i in range(400_000)]]}
    parsed, turns = [], 0
    body = json.dumps(outline).encode()
    parser = threading.Thread(target=lambda: parsed.append(_parsed(body)))
    parser.start()
    while parser.is_alive():
        time.sleep(0.001)
        turns += 1
    assert parsed == [outline]
    # A parser that holds the interpreter leaves a handful, before and after.
    assert turns > 15
