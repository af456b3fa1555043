"""How fast passwords may be tried, by a clock that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from specimg.workflow.throttle import BY_ADDRESS, BY_NAME, Throttle

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
NAME = [("name a", BY_NAME)]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_few_mistakes_cost_nothing_then_the_wait_doubles() -> None:
    throttle, now = Throttle(), 0.0
    for _ in range(BY_NAME.free):
        assert throttle.attempt(NAME, at(now)) is None
    for expected in (1, 2, 4, 8, 16):
        wait = throttle.attempt(NAME, at(now))
        assert wait == timedelta(seconds=expected)
        now += expected
        assert throttle.attempt(NAME, at(now)) is None


def test_no_wait_is_longer_than_five_minutes() -> None:
    throttle, now = Throttle(), 0.0
    longest = 0.0
    for _ in range(40):
        wait = throttle.attempt(NAME, at(now))
        if wait is not None:
            longest = max(longest, wait.total_seconds())
            now += wait.total_seconds()
            assert throttle.attempt(NAME, at(now)) is None
    assert longest == 300


def test_a_refused_attempt_does_not_make_the_wait_longer() -> None:
    throttle = Throttle()
    while throttle.attempt(NAME, at(0)) is None:
        pass
    for _ in range(1000):
        assert throttle.attempt(NAME, at(0.5)) == timedelta(seconds=0.5)


def test_success_forgets_the_name() -> None:
    throttle = Throttle()
    while throttle.attempt(NAME, at(0)) is None:
        pass
    throttle.forget("name a")
    assert throttle.attempt(NAME, at(0)) is None


def test_half_an_hour_of_quiet_forgets() -> None:
    throttle = Throttle()
    while throttle.attempt(NAME, at(0)) is None:
        pass
    assert throttle.attempt(NAME, at(31 * 60)) is None
    assert throttle.attempt(NAME, at(31 * 60)) is None


def test_one_address_cannot_try_one_password_on_everybody() -> None:
    throttle = Throttle()
    allowed = sum(
        throttle.attempt([(f"name {i}", BY_NAME), ("address x", BY_ADDRESS)], at(0)) is None for i in range(1000)
    )
    assert allowed == BY_ADDRESS.free


def test_a_flood_of_names_does_not_fill_the_memory() -> None:
    throttle = Throttle()
    for i in range(25_000):
        throttle.attempt([(f"name {i}", BY_NAME)], at(0))
    assert len(throttle._attempts) <= 10_000
