"""The verifier's own RFC 8785, against the standard's table and the library that the writer uses."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from specimg.audit.verify.canonical import Malformed, dumps, loads, parse

# RFC 8785 appendix B: IEEE 754 bits and their one spelling.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_numbers_are_spelled_as_in_the_standard(bits: str, text: str) -> None:
    assert dumps(struct.unpack(">d", bytes.fromhex(bits))[0]) == text.encode()


def test_keys_are_sorted_by_utf16_as_in_the_standard() -> None:
    """RFC 8785 §3.2.3; sorting by code point would put the smiley last."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\u00f6"]
    assert list(json.loads(dumps(dict.fromkeys(keys)))) == ["\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]


@given(values)
def test_it_writes_what_the_library_writes(value: Any) -> None:
    assert dumps(value) == rfc8785.dumps(value)


@given(values)
def test_it_reads_back_what_is_canonical(value: Any) -> None:
    data = rfc8785.dumps(value)
    assert rfc8785.dumps(parse(data)) == data


@given(values)
def test_it_refuses_every_other_spelling(value: Any) -> None:
    data = rfc8785.dumps(value)
    for other in (data + b" ", b" " + data, json.dumps(value, indent=1).encode(), json.dumps(value).encode()):
        if other != data:
            with pytest.raises(Malformed):
                parse(other)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":1,"a":2}',
        '{"b":1,"a":2}',
        "[1,]",
        "1.0",
        "1e2",
        "-0",
        "9007199254740993",
        "1" * 5000,
        "NaN",
        "Infinity",
        '"\\u0041"',
        '"\\/"',
        '"\\ud800"',
        '"\x01"',
        '"\\u001F"',
        "",
        "nul",
    ],
)
def test_it_refuses(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text.encode())


def test_columns_may_be_spelled_otherwise_but_say_nothing_twice() -> None:
    assert loads('{"b": 1.50, "a": [ ]}') == {"b": 1.5, "a": []}
    with pytest.raises(Malformed, match="twice"):
        loads('{"a": 1, "a": 1}')
