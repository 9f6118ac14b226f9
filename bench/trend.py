"""Whether a series of measurements is flat: the rule by which the soak says that nothing grows.

The second half only, since a process fills its caches first. It is cut into blocks, whose means are hardly correlated,
and a straight line is laid through them. *Growth* is what the line rises over the second half, as a share of its mean,
with the 95 % bounds of the slope. Flat: the upper bound is at most GROWTH_MAX. Not flat: the lower bound is above it.
Between the two the run was too short or too noisy to tell.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BLOCKS = 12
GROWTH_MAX = 0.05
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
