"""Log pages: bounded, clean, and positions that neither repeat nor lose a line."""

import pytest

from bot_runner_worker.bots.log_pages import page_of, position_of
from bot_runner_worker.engine.logs import LogLine
from bot_runner_worker.model.errors import Rejected

LINES = [LogLine(f"2026-01-31T12:00:0{second}.5Z", f"line {second}") for second in range(5)]


def test_shows_the_newest_lines() -> None:
    page = page_of(LINES, lines=2, since=None, max_bytes=1000)
    assert (page.text, page.truncated) == ("line 3\nline 4\n", True)
    assert page_of(LINES, lines=5, since=None, max_bytes=1000).truncated is False


def test_the_next_page_begins_right_after_the_last_line() -> None:
    page = page_of(LINES, lines=5, since=None, max_bytes=1000)
    assert page.next_since == "1769860804.500000001"
    assert position_of(page.next_since) == page.next_since


def test_nothing_new_keeps_the_position() -> None:
    assert page_of([], lines=5, since="1.000000001", max_bytes=10).next_since == "1.000000001"


def test_a_page_is_bounded_in_bytes_and_keeps_the_end() -> None:
    long = [LogLine(LINES[0].time, "ы" * 100), LogLine(LINES[1].time, "end")]
    page = page_of(long, lines=10, since=None, max_bytes=50)
    assert (page.text, page.truncated) == ("end\n", True)
    page = page_of(long[:1], lines=10, since=None, max_bytes=50)
    assert page.truncated
    assert 0 < len(page.text.encode()) <= 51


@pytest.mark.parametrize("hostile", ["\x9b31m", "\x85", "\u202e", "\u2067", "\u200e"])
def test_nor_can_c1_controls_and_what_reorders_text(hostile: str) -> None:
    line = LogLine(LINES[0].time, f"paid {hostile}100")
    assert page_of([line], lines=1, since=None, max_bytes=1000).text == "paid 100\n"


@pytest.mark.parametrize("since", ["1700000000.000000001\n", "١٧٠٠٠٠٠٠٠٠.000000001"])
def test_a_position_is_that_and_nothing_else(since: str) -> None:
    with pytest.raises(Rejected):
        position_of(since)


def test_escape_sequences_cannot_rewrite_the_readers_terminal() -> None:
    line = LogLine(LINES[0].time, "\x1b[2J\x1b]0;title\x07red \x1b[31mtext\x1b[0m\ttab\x00")
    text = page_of([line], lines=1, since=None, max_bytes=1000).text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "red text\ttab" in text


@pytest.mark.parametrize(
    ("since", "position"),
    [(None, None), ("2026-01-31T12:00:00Z", "1769860800.000000000"), ("1.000000001", "1.000000001")],
)
def test_positions(since: str | None, position: str | None) -> None:
    assert position_of(since) == position


@pytest.mark.parametrize(
    "since", ["", "yesterday", "-1", "0", "2026-01-31", "2026-01-31T12:00:00", "1e9", "all"]
)
def test_positions_that_are_refused(since: str) -> None:
    with pytest.raises(Rejected) as caught:
        position_of(since)
    assert caught.value.code == "INVALID_FIELD"
