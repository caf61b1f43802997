# SPDX-License-Identifier: Apache-2.0
"""The design of the published study as a grid: 700 models of 63 sets of inputs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from encephalon.api.grid import plan_grid
from tests.studies.legibility.published_people import published_people_table

#: Sources, and the three other domains, of which the published study has every choice.
DOMAINS = {"constitutional": 4, "disease": 5, "serology": 4, "psychology": 12}


def test_the_published_design_is_700_cells_of_63_sets_of_inputs(tmp_path: Path) -> None:
    """Each cell checked down to its recipe, T1 and FLAIR together, own domains left out."""
    plan = plan_grid("legibility-published", published_people_table(tmp_path))
    settings = [cell.recipe.study.settings for cell in plan.cells]
    sets = [
        frozenset(
            {
                *one["inputs"],
                *(one.get("metadata_blocks", ()) if "metadata" in one["inputs"] else ()),
            }
            - {"metadata"}
        )
        for one in settings
    ]
    domains = [one["cohort"]["targets"][one["targets"][0]]["domain"] for one in settings]
    assert (len(sets), len(set(sets))) == (700, 63)
    assert Counter(domains) == {
        name: count * (7 if name == "constitutional" else 32) for name, count in DOMAINS.items()
    }
    for inputs, domain in zip(sets, domains, strict=True):
        assert ("t1" in inputs) == ("flair" in inputs)
        assert domain not in inputs
        assert ("constitutional" in inputs) == (domain != "constitutional")
