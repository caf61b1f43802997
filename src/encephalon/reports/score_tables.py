# SPDX-License-Identifier: Apache-2.0
"""Tables of methods by their scores over seeds, as a page and as Markdown: the best in bold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from encephalon.reports.blocks import figure, table
from encephalon.reports.charts import DotGroup, dot_chart
from encephalon.reports.format import Html, format_decimals, tag
from encephalon.statistics.intervals import Interval

__all__ = ["Score", "ScoreTable"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """One measure of one method, the higher the better.

    values     of each seed
    published  what somebody else reached, as text
    """

    method: str
    measure: str
    values: tuple[float, ...]
    published: str = ""

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return mean(self.values)

    @property
    def sd(self) -> float | None:
        """The standard deviation over seeds; None for one."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def seeds(self) -> int:
        """How many there are."""
        return len(self.values)

    def __str__(self) -> str:
        """The mean, and the deviation behind it."""
        spread = "" if self.sd is None else f" ± {self.sd:.3f}"
        return f"{format_decimals(self.value, 3)}{spread}"


@dataclass(frozen=True)
class ScoreTable:
    """Methods by their scores, in the order of the first measure, the best first.

    headings  of the measures, in their order; scores of others are left out
    """

    title: str
    headings: Mapping[str, str]
    scores: Sequence[Score]

    @property
    def measures(self) -> list[str]:
        """Those that some method has."""
        return [name for name in self.headings if self.of(name)]

    def of(self, measure: str) -> list[Score]:
        """The scores of one measure, the best first."""
        found = [score for score in self.scores if score.measure == measure]
        return sorted(found, key=lambda score: -score.value)

    def html(self) -> Html:
        """The table for a page."""
        return table(self._columns, self._rows(lambda words: tag("strong", words)))

    def markdown(self) -> Iterator[str]:
        """The lines of the table, with its title, in Markdown."""
        yield from (f"## {self.title}", "", f"| {' | '.join(self._columns.values())} |")
        yield f"|{'---|' * len(self._columns)}"
        for row in self._rows("**{}**".format):
            yield f"| {' | '.join(str(row.get(name, '')) for name in self._columns)} |"
        yield ""

    def chart(self, measure: str) -> Html:
        """Every seed of every method as a dot, with mean and standard deviation."""
        groups = []
        for each in self.of(measure):
            sd, known = each.sd or 0.0, None
            if each.sd is not None:
                known = Interval(each.value, each.value - sd, each.value + sd, 0, each.seeds, "sd")
            groups.append(DotGroup(each.method, each.values, known))
        return figure(dot_chart(groups, self.headings[measure]))

    @property
    def _columns(self) -> dict[str, str]:
        named = {name: self.headings[name] for name in self.measures}
        last = {"published": "Published"} if any(each.published for each in self.scores) else {}
        return {"method": "Method", **named, "seeds": "Seeds", **last}

    def _rows(self, bold: Callable[[str], str]) -> list[dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}
        for name in self.measures:
            scores = self.of(name)
            for each in scores:
                row = rows.setdefault(each.method, {"method": each.method, "seeds": 0})
                best = len(scores) > 1 and each.value == scores[0].value
                row[name] = bold(str(each)) if best else str(each)
                row["seeds"] = max(row["seeds"], each.seeds)
                if each.published:
                    said = f"{self.headings[name]}: {each.published}"
                    row["published"] = "; ".join(filter(None, (row.get("published"), said)))
        return list(rows.values())
