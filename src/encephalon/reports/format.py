# SPDX-License-Identifier: Apache-2.0
"""How the pages of this study write figures, lights and what is known of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from encephalon.reports.blocks import badge, facts
from encephalon.reports.markup import Html, number, tag
from encephalon.statistics.intervals import Interval

__all__ = [
    "in_percent",
    "lamp",
    "method",
    "model_facts",
    "model_name",
    "percent",
    "span",
    "with_span",
]

_TOGETHER = "\N{NO-BREAK SPACE}"
_METHODS = {"bootstrap": "bootstrap", "wilson": "Wilson", "exact": "exact", "none": "none"}
# Shapes beside the colours, as badges have them.
_LAMPS = {"Green": ("ok", "●"), "Amber": ("check", "▲"), "Red": ("fail", "■")}


def lamp(light: str) -> Html:
    """Show a light as a word with its colour and a shape; other words plainly."""
    if light not in _LAMPS:
        return badge(light)
    status, shape = _LAMPS[light]
    mark = tag("span", shape, aria_hidden="true")
    return tag("span", mark, light, class_=f"badge badge-{status}")


def span(interval: Interval, named: bool = True) -> str | None:
    """The ends of an interval, `named` if it is no bootstrap; None where there is none."""
    if not isfinite(interval.low + interval.high):
        return None
    name = f", {method(interval)}" if named and interval.method != "bootstrap" else ""
    return f"{number(interval.low, 3)} to {number(interval.high, 3)}{name}"


def method(interval: Interval) -> str:
    """The name of an interval."""
    return _METHODS[interval.method]


def in_percent(interval: Interval) -> Interval:
    """The same, times 100."""
    value, low, high = (100 * each for each in (interval.value, interval.low, interval.high))
    return replace(interval, value=value, low=low, high=high)


def with_span(interval: Interval) -> str:
    """A figure with the ends of its interval behind it, which stay together in a narrow cell."""
    value, ends = number(interval.value, 3), span(interval)
    return f"{value} ({ends.replace(' ', _TOGETHER)})" if ends else value


def percent(share: float) -> str:
    """A share as whole percent."""
    return f"{100 * share:.0f} %" if isfinite(share) else "–"


def model_name(about: Mapping[str, Any]) -> str:
    """Name and version of the model, of what a predictor says of itself."""
    model = about.get("model") or {}
    return f"{model.get('name', 'unknown model')} {model.get('version', '')}".strip()


def model_facts(about: Mapping[str, Any]) -> Html:
    """What a predictor says of itself: model, mode, runtime, classes, score, thresholds, hash."""
    model, light = about.get("model") or {}, about.get("thresholds")
    calibration = about.get("calibration")
    return facts(
        {
            "Model": model.get("name"),
            "Version": model.get("version"),
            "Mode": model.get("mode"),
            "Runtime": about.get("runtime"),
            "Device": about.get("device"),
            "Classes": ", ".join(about.get("classes") or ()) or None,
            "Score": about.get("score"),
            "Calibration": f"temperature {calibration['temperature']:.3f}" if calibration else None,
            "Light": f"green up to {light[0]:g}, red above {light[1]:g}" if light else None,
            "SHA-256": tag("code", model["sha256"]) if model.get("sha256") else None,
        }
    )
