from terrazzo.words import counted


def test_a_noun_is_plural_unless_there_is_one():
    assert [counted(n, "scene") for n in (0, 1, 2)] == ["0 scenes", "1 scene", "2 scenes"]
    assert counted(3, "pass of a tile") == "3 passes of a tile"
    assert counted(1, "pass of a tile") == "1 pass of a tile"
