"""Ranges and validators by the letter of RFC 9110."""

from __future__ import annotations

import pytest

from specimg.api.errors import Problem
from specimg.api.octets import Span, matches, parse_range


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-499", Span(0, 500)),
        ("bytes=500-999", Span(500, 1000)),
        ("bytes=500-", Span(500, 1000)),
        ("bytes=-500", Span(500, 1000)),
        ("bytes=-1", Span(999, 1000)),
        ("bytes=-5000", Span(0, 1000)),
        ("bytes=990-5000", Span(990, 1000)),
        ("Bytes=1-2", Span(1, 3)),
        # §14.2: a unit nobody knows and a list may be answered with everything.
        ("lines=1-2", None),
        ("bytes=0-0,5-9", None),
    ],
)
def test_a_range_is_what_the_rfc_says(value: str | None, expected: Span | None) -> None:
    assert parse_range(value, 1000) == expected


@pytest.mark.parametrize(
    "value",
    [
        "bytes=1000-",
        "bytes=1000-2000",
        "bytes=5-4",
        "bytes=-0",
        "bytes=-",
        "bytes=a-b",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=99999999999999999999-",
        "bytes=" + ",".join(f"{i}-{i}" for i in range(10_000)),
    ],
)
def test_a_range_that_cannot_be_is_refused_with_the_size(value: str) -> None:
    with pytest.raises(Problem) as refused:
        parse_range(value, 1000)
    assert refused.value.status_code == 416
    assert refused.value.headers == {"Content-Range": "bytes */1000"}


def test_nothing_is_in_range_of_an_empty_file() -> None:
    for value in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        with pytest.raises(Problem):
            parse_range(value, 0)


@pytest.mark.parametrize(
    ("header", "expected"),
    [(None, False), ('"a"', True), ('"b"', False), ('"b", "a"', True), ('W/"a"', True), ("*", True), ("", False)],
)
def test_if_none_match_compares_weakly(header: str | None, expected: bool) -> None:
    assert matches(header, '"a"') is expected
