"""The tour's rows: of one width, plain where a terminal knows no more, and readable however the text arrives."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from tundish.cli.demo.screen import Screen

WIDTH = 92


def shown(act, *, encoding: str = "utf-8", styled: bool = False) -> str:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding, newline="")
    act(Screen(out, styled=styled))
    out.flush()
    return raw.getvalue().decode(encoding)


@given(st.lists(st.text(alphabet="ab ,.", max_size=40)))
def test_a_stream_is_shown_whole_and_within_the_width(pieces: list[str]) -> None:
    def act(screen: Screen) -> None:
        screen.begin_stream("answer")
        for piece in pieces:
            screen.stream(piece)
        screen.end_stream()

    lines = shown(act).splitlines()
    assert all(len(line) <= WIDTH or " " not in line[14:].strip() for line in lines)
    assert "".join("".join(lines).split()) == "answer" + "".join("".join(pieces).split())


def test_rows_wrap_below_their_text() -> None:
    first, second = shown(lambda screen: screen.row("decided", "word " * 30)).splitlines()
    assert first.startswith("     decided  word")
    assert second.startswith(" " * 14 + "word")


def test_an_old_terminal_gets_plain_letters() -> None:
    def act(screen: Screen) -> None:
        screen.good("receipt", "it – holds")
        screen.bad("log", "it does not")

    assert shown(act, encoding="ascii").split() == [
        "receipt",
        "OK",
        "it",
        "-",
        "holds",
        "log",
        "NO",
        "it",
        "does",
        "not",
    ]


def test_colours_are_for_terminals() -> None:
    assert "\x1b" in shown(lambda screen: screen.headline("Hello"), styled=True)
    assert "\x1b" not in shown(lambda screen: screen.headline("Hello"))
