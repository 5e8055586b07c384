from __future__ import annotations

import pytest

from tundish.app.neighbours import parse
from tundish.settings import InvalidSetting


def test_a_name_and_a_key():
    neighbour = parse("lab=http://sk%2Fsecret@127.0.0.1:8000/v1")
    assert neighbour.prefix == "lab/"
    assert neighbour.server.base_url == "http://127.0.0.1:8000/v1"
    assert neighbour.server.api_key == "sk/secret"
    assert "secret" not in repr(neighbour)


@pytest.mark.parametrize(
    "given",
    [
        "http://sk-secret@192.168.1.5:8000/v1",
        "lab=http://sk-secret@192.168.1.5:8000/v1",
        "ftp://sk-secret@127.0.0.1/v1",
        "http://user:sk-secret@example.com/v1",
        "http://sk-secret/with=slash@127.0.0.1:8000/v1",
        "http:/sk-secret@127.0.0.1:8000/v1",
        "sk-secret@127.0.0.1:8000/v1",
        "http://sk-secret@[127.0.0.1/v1",
    ],
)
def test_a_wrong_setting_is_told_without_its_key(given: str):
    with pytest.raises(InvalidSetting, match="servers") as caught:
        parse(given)
    assert "secret" not in str(caught.value)
    assert given.rpartition("@")[2] in str(caught.value)
