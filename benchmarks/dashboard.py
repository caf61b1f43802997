# SPDX-License-Identifier: Apache-2.0
"""The page of a grid: how large it is for 700 models, and how soon it can be used.

    python benchmarks/dashboard.py [--results metrics.csv] [--people 2381] [--small]

Without a table the results are made up, of the design of the published one: 25 targets, of 63 sets
of inputs. The page is opened in Chromium without a cache, three times; it can be used when the best
models stand there and follow a click, while charts are drawn as they come into view.

`--small` takes few of the results and opens the page once: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from encephalon.experiments.grid_report import write_statistics
from encephalon.experiments.results_table import ResultsTable, read_results
from figures import tell

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.reports.browser import Browser

#: What we want of each figure: our choice.
WISHES = {"page_mb": "<= 6", "usable_seconds": "<= 2", "charts_seconds": "<= 2"}
DOMAINS = {"constitutional": 4, "disease": 5, "serology": 4, "psychology": 12}
#: Milliseconds since the page was asked for, or that a click takes.
MOMENTS = {
    "usable": "performance.getEntriesByName('usable')[0].startTime",
    "charts": "performance.getEntriesByType('navigation')[0].domInteractive",
    "click": "(() => { const at = performance.now(); choose(); return performance.now() - at; })()",
}
UNITS = (("t1", "flair"), ("dwi",), ("connectivity",))


def made_up() -> Iterator[dict[str, Any]]:
    """Results of the published design: what is measured, and blocks of other domains."""
    rng = np.random.default_rng(0)
    for domain, count in DOMAINS.items():
        blocks = [name for name in list(DOMAINS)[1:] if name != domain]
        always = () if domain == "constitutional" else ("constitutional",)
        parts = [*UNITS, *((name,) for name in blocks if always)]
        sets = [s for size in range(len(parts) + 1) for s in combinations(parts, size)]
        for number in range(count):
            for chosen in sets if always else sets[1:]:
                inputs = [name for part in chosen for name in part] + list(always)
                about = {"target": f"{domain} {number}", "domain": domain, "inputs": inputs}
                about |= {"minutes": float(rng.lognormal(5, 0.8)), "n": 2381}
                score = float(rng.uniform(0.5, 0.7))
                yield {**about, "kind": "classification", "balanced_accuracy": score}


def opening(page: Path, moments: Mapping[str, str], times: int) -> dict[str, float]:
    """Seconds of each moment, whose script tells milliseconds; the median of several openings."""
    told: dict[str, list[float]] = {name: [] for name in moments}
    for _ in range(times):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            browser = Browser.started(Path(folder))
            with browser as opened:
                opened.size(1280, 900)
                opened.open(page.as_uri())
                for name, script in moments.items():
                    told[name].append(opened.run(script) / 1000)
    return {f"{name}_seconds": median(each) for name, each in told.items()}


def main() -> None:
    """Print the figures, and beside them what we want."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, help="a table of results instead")
    parser.add_argument("--people", type=int, help="who were scored, if it does not say it")
    parser.add_argument("--small", action="store_true", help="little of it")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = list(made_up())[:: 20 if asked.small else 1]
    results = read_results(asked.results) if asked.results else ResultsTable.of(rows)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        page = write_statistics(results, Path(folder), people=asked.people).dashboard
        if page is None:
            sys.exit("It needs the extra grid.")
        figures = {"results": len(results), "report_seconds": time.perf_counter() - begun}
        figures |= {"page_mb": page.stat().st_size / 1e6}
        figures |= opening(page, MOMENTS, 1 if asked.small else 3)
    tell(figures, WISHES, asked.json)


if __name__ == "__main__":
    main()
