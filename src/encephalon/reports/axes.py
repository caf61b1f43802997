# SPDX-License-Identifier: Apache-2.0
"""Axes of charts: round tick values and the way from a value to a pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

__all__ = ["Axis", "axis_of", "round_step"]

# Decimals from which on a label is written with a power of ten.
_MOST_PLACES = 6


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` drawn from pixel `start` to pixel `end`."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def label(self, tick: float) -> str:
        """A tick's value with the decimals that tell ticks apart, and no more."""
        step = self.ticks[1] - self.ticks[0]
        places = next((n for n in range(9) if abs(step * 10**n - round(step * 10**n)) < 1e-6), 9)
        written = f"{tick:.{places}f}" if places < _MOST_PLACES or not tick else f"{tick:g}"
        return written.replace("-", "−")

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def axis_of(
    values: Iterable[float], start: float, end: float, ticks: int = 5, *, whole: bool = False
) -> Axis:
    """Make an axis with about `ticks` round values that holds every finite value.

    Without any it runs from 0 to 1. With a single one it has some room around it, but none beyond
    0, which most figures cannot cross. `whole` values, such as epochs, have whole ticks.
    """
    finite = [float(value) for value in values if isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-9 * max(1.0, abs(low)):
        pad = 0.05 * abs(low)
        low, high = (low - pad, high + pad) if abs(low) > 1e-6 else (min(0.0, low), 1.0)
    step = round_step((high - low) / ticks)
    step = max(1.0, float(ceil(step))) if whole else step
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    values_at = tuple(round(place * step, 12) for place in range(first, last + 1))
    return Axis(values_at[0], values_at[-1], start, end, values_at)


def round_step(step: float) -> float:
    """The next of 1, 2, 2.5 or 5 times a power of ten that is not below `step`."""
    power = 10.0 ** floor(log10(step))
    enough = step / power * (1 - 1e-9)
    return power * next(factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor >= enough)
