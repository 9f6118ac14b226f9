"""Whether a series of measurements is flat: the rule by which the soak says that nothing grows.

The second half only, since a process fills its caches first. It is cut into blocks, whose means are hardly correlated,
and a straight line is laid through them. *Growth* is what the line rises over the second half, as a share of its mean,
with the 95 % bounds of the slope. Flat: the upper bound is at most GROWTH_MAX. Not flat: the lower bound is above it.
Between the two the run was too short or too noisy to tell, and so it was when the load did not keep up.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

BLOCKS = 12
GROWTH_MAX = 0.05
# Of the load's rate in the first half: below it the second half says nothing about full load.
RATE_SHARE_MIN = 0.7
# Of Student's t with BLOCKS - 2 degrees of freedom, 97.5 %.
T_975 = 2.228


@dataclass(frozen=True)
class Trend:
    """`growth` over the second half as a share of its `mean`, give or take `margin`."""

    mean: float
    growth: float
    margin: float

    @property
    def verdict(self) -> Literal["flat", "NOT FLAT", "too short to tell"]:
        if self.growth + self.margin <= GROWTH_MAX:
            return "flat"
        return "NOT FLAT" if self.growth - self.margin > GROWTH_MAX else "too short to tell"


def trend(values: Sequence[float]) -> Trend:
    """Of measurements taken at even distances. Raises ValueError for fewer than two a block."""
    half = values[len(values) // 2 :]
    if len(half) < 2 * BLOCKS:
        raise ValueError(f"{len(values)} measurements; at least {4 * BLOCKS} are needed")
    size = len(half) / BLOCKS
    y = [statistics.fmean(half[round(i * size) : round((i + 1) * size)]) for i in range(BLOCKS)]
    x = [(i + 0.5) / BLOCKS for i in range(BLOCKS)]  # the second half is 1 long
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    spread = sum((each - mean_x) ** 2 for each in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    error = math.sqrt(rest / (BLOCKS - 2) / spread)
    return Trend(mean_y, slope / mean_y, T_975 * error / mean_y)


def kept_up(rates: Sequence[float]) -> float:
    """The load of the second half as a share of the first half's, by their medians. Rates are of even stretches."""
    half = len(rates) // 2
    return statistics.median(rates[half:]) / statistics.median(rates[:half])


def problem(services: Mapping[str, Sequence[float]], rates: Sequence[float]) -> str:
    """Why the soak does not show that memory is flat at full load; empty when it does. Growth counts at any load."""
    verdicts = {name: trend(values).verdict for name, values in services.items()}
    if growing := sorted(name for name, verdict in verdicts.items() if verdict == "NOT FLAT"):
        return f"NOT FLAT: {', '.join(growing)}: look at what it keeps for each call"
    if (share := kept_up(rates)) < RATE_SHARE_MIN:
        return (
            f"no verdict: the load fell to {share:.0%} of what it was, at least {RATE_SHARE_MIN:.0%} is needed: "
            "run it again on a machine that does nothing else"
        )
    if unsure := sorted(name for name, verdict in verdicts.items() if verdict != "flat"):
        return f"no verdict: too short to tell for {', '.join(unsure)}: run it again with more --seconds"
    return ""
