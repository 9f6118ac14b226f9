"""The soak's rule: what does not grow is flat however it wobbles, and a list that grows with each call is not."""

from __future__ import annotations

import gc
import random

import psutil
import pytest

from bench.trend import BLOCKS, GROWTH_MAX, RATE_SHARE_MIN, problem, trend

KEPT: list[bytes] = []


def leaking(call: int) -> None:
    """A handler with the planted mistake: it remembers every call."""
    KEPT.append(call.to_bytes(4, "big") * 512)


def careful(call: int) -> None:
    _ = call.to_bytes(4, "big") * 512


@pytest.mark.parametrize(("handle", "verdict"), [(leaking, "NOT FLAT"), (careful, "flat")])
def test_a_list_that_grows_with_each_call_is_found_in_a_real_process(handle: object, verdict: str) -> None:
    assert callable(handle)
    process, seen = psutil.Process(), list[float]()
    try:
        gc.collect()
        for call in range(60_000):
            handle(call)
            if call % 600 == 0:
                seen.append(process.memory_full_info().uss)
    finally:
        KEPT.clear()
    assert trend(seen).verdict == verdict


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_never_called_growth(seed: int) -> None:
    chance = random.Random(seed)
    assert trend([100 + chance.gauss(0, 3) for _ in range(600)]).verdict == "flat"


@pytest.mark.parametrize("seed", range(20))
def test_a_tenth_more_in_the_second_half_is_found_under_noise(seed: int) -> None:
    chance = random.Random(seed)
    assert trend([100 + 20 * n / 600 + chance.gauss(0, 3) for n in range(600)]).verdict == "NOT FLAT"


def test_what_fills_up_at_first_and_then_stays_is_flat() -> None:
    assert trend([min(100.0, 50 + n / 4) for n in range(600)]).verdict == "flat"


def test_growth_is_what_the_second_half_rises_by() -> None:
    found = trend([100 + n / 10 for n in range(1_000)])  # from 150 to 200
    assert found.growth == pytest.approx(50 / 175, rel=0.01)
    assert found.margin < 0.001


def test_between_the_bounds_it_does_not_say() -> None:
    chance = random.Random(1)
    assert (
        trend([100 + 100 * GROWTH_MAX * n / 30 + chance.gauss(0, 6) for n in range(60)]).verdict == "too short to tell"
    )


def test_too_few_measurements_are_refused() -> None:
    with pytest.raises(ValueError, match=f"at least {4 * BLOCKS}"):
        trend([1.0] * (4 * BLOCKS - 2))


FLAT, GROWING = [100.0] * 240, [100.0 + n for n in range(240)]
STEADY, FALLING = [10.0] * 12, [10.0] * 6 + [10 * RATE_SHARE_MIN - 0.1] * 6


@pytest.mark.parametrize(
    ("memory", "rates", "said"),
    [
        ({"enrolment": FLAT, "mentoring": FLAT}, STEADY, ""),
        ({"enrolment": FLAT, "mentoring": GROWING}, STEADY, "NOT FLAT: mentoring"),
        ({"enrolment": GROWING, "mentoring": FLAT}, FALLING, "NOT FLAT: enrolment"),
        ({"enrolment": FLAT, "mentoring": FLAT}, FALLING, "no verdict: the load fell to 69%"),
    ],
    ids=["flat", "growing", "growing at any load", "flat for want of load"],
)
def test_a_soak_passes_when_it_is_flat_under_a_load_that_kept_up(
    memory: dict[str, list[float]], rates: list[float], said: str
) -> None:
    found = problem(memory, rates)
    assert found.startswith(said)
    assert bool(found) == bool(said)
