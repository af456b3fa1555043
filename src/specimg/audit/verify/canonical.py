"""RFC 8785 canonical JSON: reading it strictly, and writing it again to compare.

A leaf counts only if its bytes are what canonicalising its own content gives. That one comparison refuses duplicate keys
(of which Python would silently keep the last), white space, other spellings of a number or of an escape.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, NoReturn

LARGEST = 2**53 - 1
"""Integers beyond this are not exact in every JSON reader (RFC 7493 §2.2)."""


class Malformed(ValueError):
    """These bytes are not canonical JSON, and why."""


class _NeedsCare(Exception):
    """The quick way cannot decide."""


def parse(data: bytes) -> Any:
    """The value of canonical JSON bytes; raises ``Malformed``."""
    try:
        if data.isascii():
            # For ASCII without fractions, json's own C code writes the same bytes as RFC 8785: sorting by code point
            # and by UTF-16 unit agree, and so do the escapes.
            text = data.decode("ascii")
            value = _QUICK.decode(text)
            if _WRITER.encode(value) == text:
                return value
    except (ValueError, _NeedsCare, RecursionError):
        pass
    return _parse_carefully(data)


def loads(text: str) -> Any:
    """Any JSON, canonical or not, but without duplicate keys or NaN: for what the database keeps in columns."""
    try:
        return _CAREFUL.decode(text)
    except RecursionError as error:
        raise Malformed("nested too deeply") from error
    except json.JSONDecodeError as error:
        raise Malformed("not JSON") from error


def dumps(value: Any) -> bytes:
    """RFC 8785 bytes of a value; raises ``Malformed`` for what has none."""
    try:
        return _write(value).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Malformed("half of a surrogate pair") from error
    except RecursionError as error:
        raise Malformed("nested too deeply") from error


def _parse_carefully(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8") from error
    value = loads(text)
    if dumps(value) != data:
        raise Malformed("not in canonical form (RFC 8785)")
    return value


def _write(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > LARGEST:
            raise Malformed("an integer beyond 2^53 - 1")
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_write, value)) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_write(key)}:{_write(value[key])}" for key in keys) + "}"
    raise Malformed(f"{type(value).__name__} is not JSON")


def _number(value: float) -> str:
    """ECMAScript's Number::toString(10), as RFC 8785 §3.2.2.3 demands; Python's ``repr`` has the same digits."""
    if not math.isfinite(value):
        raise Malformed("not a finite number")
    if value == 0:
        return "0"
    _, digit_tuple, exponent = Decimal(repr(abs(value))).as_tuple()
    digits = "".join(map(str, digit_tuple)).rstrip("0")
    point = len(digit_tuple) + int(exponent)  # digits before the decimal point
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{point - 1:+d}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value] # set.add
        raise Malformed(f"the key {twice!r} appears twice")
    return found


def _integer(text: str) -> int | float:
    # Numbers are doubles: past 2^53 an integer must be spelled as its nearest double is, which writing it again decides.
    if len(text) > 15 and (len(text) > 17 or abs(int(text)) > LARGEST):
        return float(text)
    return int(text)


def _constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is not JSON")


def _fraction(_: str) -> NoReturn:
    raise _NeedsCare


_QUICK = json.JSONDecoder(parse_float=_fraction, parse_int=_integer, parse_constant=_constant)
_CAREFUL = json.JSONDecoder(parse_int=_integer, parse_constant=_constant, object_pairs_hook=_unique)
_WRITER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False)
