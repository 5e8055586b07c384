"""Targets, as clients and proxies send them."""

from __future__ import annotations

import pytest

from tundish.http.errors import RequestRefused
from tundish.http.message import split_target


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        ("/", "/", "", None),
        ("/v1/models?limit=1", "/v1/models", "limit=1", None),
        ("/a?b?c", "/a", "b?c", None),
        ("/openai%2Fgpt-oss-20b", "/openai/gpt-oss-20b", "", None),
        ("/%zz%", "/%zz%", "", None),
        ("/%ff", "/\ufffd", "", None),
        ("//a/b", "//a/b", "", None),
        ("*", "*", "", None),
        ("http://h:1/a?b", "/a", "b", "h:1"),
        ("HTTPS://h", "/", "", "h"),
        ("http://h?b", "/", "b", "h"),
        ("http://[::1]:8/a", "/a", "", "[::1]:8"),
    ],
)
def test_it_is_understood(target: str, path: str, query: str, host: str | None) -> None:
    assert split_target(target) == (path, query, host)


@pytest.mark.parametrize("target", ["", "a", "h:443", "ftp://h/a", "http://", "http:///a", "http://u:p@h/", "://h"])
def test_it_is_refused(target: str) -> None:
    with pytest.raises(RequestRefused, match="target"):
        split_target(target)
