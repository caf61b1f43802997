# SPDX-License-Identifier: Apache-2.0
"""A whole run of the study: what is refused, what its folds say, and what ships."""

from __future__ import annotations

import pytest

from encephalon.api import check_network, load_recipe
from encephalon.errors import RecipeError
from encephalon.studies.legibility.experiment import answer_names
from encephalon.studies.legibility.settings import Cohort

COHORT = {
    "sources": {"connectivity": {"kind": "connectivity"}},
    "blocks": {"blood": {"columns": {"iron": "number"}}},
    "targets": {
        "sex": {"kind": "binary", "classes": ["F", "M"]},
        "age": {"kind": "continuous"},
        "anaemia": {"kind": "ordinal", "classes": ["none", "mild", "severe"]},
        "site": {"kind": "multiclass", "classes": ["a", "b", "c"]},
    },
}


def test_each_number_of_an_answer_has_a_name() -> None:
    """The set of inputs, the target, and what is said of it."""
    names = answer_names(Cohort.model_validate(COHORT))
    of_each = ["sex=M", "age", "anaemia>none", "anaemia>mild", "site=a", "site=b", "site=c"]
    sets = ["connectivity", "blood", "connectivity+blood"]
    assert names == [f"{some}/{column}" for some in sets for column in of_each]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network.name": "published-legibility"}, "learnt by the network 'masked-fusion'"),
        ({"study.hold_out_sites": "true", "study.folds": "0"}, "needs folds to hold them out in"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, str], sentence: str) -> None:
    """Before a table is read."""
    with pytest.raises(RecipeError, match=sentence):
        load_recipe("legibility", changes)


def test_a_network_that_cannot_be_built_is_refused() -> None:
    """As soon as the cohort is known, before its connectivity is read."""
    recipe = load_recipe("legibility")
    study = type(recipe.study)(name="legibility", cohort=COHORT)
    whole = recipe.model_copy(update={"study": study})
    check_network(whole)
    network = recipe.network.model_copy(update={"options": {"width": -1}})
    with pytest.raises(RecipeError, match="cannot be built"):
        check_network(whole.model_copy(update={"network": network}))
