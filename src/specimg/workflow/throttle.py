"""Throttle: how fast passwords may be tried.

Counts live in memory: a restart forgets them, which costs an attacker more than it gives. Every attempt counts from the
moment it begins, so that a hundred at once are not a hundred free guesses; success forgets the name's count.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Rule:
    """``free`` attempts, then a wait that doubles from one second to ``longest``; forgotten after ``memory``."""

    free: int
    longest: timedelta = timedelta(minutes=5)
    memory: timedelta = timedelta(minutes=30)


BY_NAME = Rule(free=5)
"""For one account name: guessing one person's password."""
BY_ADDRESS = Rule(free=50, longest=timedelta(minutes=1))
"""For one network address: one password against many names. Generous, because a proxy is one address for everybody."""

_CAPACITY = 10_000
"""Names and addresses remembered; an attacker chooses them, so there must be a limit."""


class Throttle:
    """Attempts by key. Thread-safe: one lock, held for a few dictionary operations."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, tuple[int, datetime]] = OrderedDict()

    def attempt(self, keys: Sequence[tuple[str, Rule]], now: datetime) -> timedelta | None:
        """Count an attempt under every key, or say how long to wait; a refused attempt is not counted."""
        with self._lock:
            waits = [wait for key, rule in keys if (wait := self._wait(key, rule, now)) is not None]
            if waits:
                return max(waits)
            for key, rule in keys:
                count, last = self._attempts.get(key, (0, now))
                self._attempts[key] = (1 if now - last > rule.memory else count + 1, now)
                self._attempts.move_to_end(key)
            while len(self._attempts) > _CAPACITY:
                self._attempts.popitem(last=False)
            return None

    def forget(self, key: str) -> None:
        """After success."""
        with self._lock:
            self._attempts.pop(key, None)

    def _wait(self, key: str, rule: Rule, now: datetime) -> timedelta | None:
        count, last = self._attempts.get(key, (0, now))
        if count < rule.free:
            return None
        pause = min(timedelta(seconds=2 ** min(count - rule.free, 20)), rule.longest)
        left = last + pause - now
        return left if left > timedelta(0) else None
