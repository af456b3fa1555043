"""Frames: whole or not at all."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specimg.frames import BODY_LIMIT, HEADER_LIMIT, BrokenFrame, encode_frame, read_frame, write_frame


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Read end, write end."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.binary(max_size=500))
def test_a_frame_comes_out_as_it_went_in(header: dict[str, object], body: bytes) -> None:
    reading, writing = os.pipe()
    try:
        write_frame(writing, header, body)
        assert read_frame(reading) == (header, body)
    finally:
        os.close(reading)
        os.close(writing)


def test_end_of_stream_between_frames_is_the_end() -> None:
    reading, writing = os.pipe()
    write_frame(writing, {"a": 1})
    os.close(writing)
    assert read_frame(reading) == ({"a": 1}, b"")
    assert read_frame(reading) is None
    os.close(reading)


@pytest.mark.parametrize("cut", [1, 7, 8, 12, 20])
def test_end_of_stream_inside_a_frame_is_an_accident(cut: int) -> None:
    reading, writing = os.pipe()
    os.write(writing, encode_frame({"key": "value"}, b"body")[:cut])
    os.close(writing)
    with pytest.raises(BrokenFrame):
        read_frame(reading)
    os.close(reading)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<II", HEADER_LIMIT + 1, 0),
        struct.pack("<II", 2, BODY_LIMIT + 1),
        struct.pack("<II", 2, 0) + b"[]",
        struct.pack("<II", 2, 0) + b"{x",
        struct.pack("<II", 2, 0) + b"\xff\xff",
    ],
)
def test_what_is_no_frame_is_refused_before_memory_is_spent(pipe: tuple[int, int], data: bytes) -> None:
    os.write(pipe[1], data)
    with pytest.raises(BrokenFrame):
        read_frame(pipe[0])


def test_numbers_that_are_not_json_are_not_sent() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode_frame({"a": float("nan")})
