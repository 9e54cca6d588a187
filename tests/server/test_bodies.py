import json
import threading
import time

from terrazzo.server.bodies import _parsed


def test_others_have_their_turn_while_a_large_body_is_parsed():
    outline = {
        "type": "Polygon",
        "coordinates": [[[15.1 + i * 1e-6, 45.1 + i * 1e-6] for i in range(400_000)]],
    }
    parsed, turns = [], 0
    body = json.dumps(outline).encode()
    parser = threading.Thread(target=lambda: parsed.append(_parsed(body)))
    parser.start()
    while parser.is_alive():
        time.sleep(0.001)
        turns += 1
    assert parsed == [outline]
    # A parser that holds the interpreter leaves a handful, before and after.
    assert turns > 30
