"""No value that a handler passes on can become a header, or a response, of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tundish.http.head import DateLine, encode_head


def test_a_head() -> None:
    assert (
        encode_head(200, [("content-type", "text/plain"), ("x-a", "ä")], "date: now", "content-length: 1")
        == b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 1\r\ncontent-type: text/plain\r\nx-a: \xe4\r\n\r\n"
    )


def test_a_status_of_ones_own_has_a_reason_too() -> None:
    assert encode_head(499, []) == b"HTTP/1.1 499 Unknown\r\n\r\n"


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 1000])
def test_what_is_no_status_of_a_whole_response_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        encode_head(status, [])


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\r\n\r\n<html>", "日本"])
def test_a_value_that_leaves_its_line_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_head(200, [("x", value)])


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "ä", "a\n", "(a)"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        encode_head(200, [(name, "x")])


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "CONNECTION", "date"])
def test_what_the_server_says_itself_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="server"):
        encode_head(200, [(name, "x")])


@given(st.lists(st.tuples(st.text(max_size=10), st.text(max_size=20)), max_size=5))
def test_a_head_has_a_line_for_each_header_or_is_refused(headers: list[tuple[str, str]]) -> None:
    try:
        head = encode_head(200, headers)
    except ValueError:
        return
    lines = head.split(b"\r\n")
    assert len(lines) == len(headers) + 3
    assert b"\n" not in b"".join(lines)


def test_the_date_is_made_once_a_second() -> None:
    now = [0.0]
    date = DateLine(lambda: now[0])
    assert date() == "date: Thu, 01 Jan 1970 00:00:00 GMT"
    now[0] = 0.9
    assert date() is date()
    now[0] = 1.0
    assert date() == "date: Thu, 01 Jan 1970 00:00:01 GMT"
