# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from encephalon.errors import InputError, TableError
from encephalon.tables.encoding import (
    covariate_names,
    covariate_width,
    encode_classes,
    encode_covariates,
    fit_scaling,
)
from encephalon.tables.schema import Columns, Table
from tests.studies.micrographs.published_demographics import demographics

VESSELS = Columns(
    target="class",
    target_kind=("Young", "Aged"),
    score_only=("Middle age",),
    covariates={"sex": ("F", "M"), "region": ("CC", "HC", "PFC")},
)
AGED = Columns(covariates={"sex": ("F", "M"), "age": "number"})


def table(columns: Columns, **cells: list[Any]) -> Table:
    return Table(pd.DataFrame(cells, dtype=object), columns, Path())


def test_categories_keep_the_order_of_the_recipe() -> None:
    """F, M, CC, HC, PFC, whichever are present (3BTRON)."""
    rows = [{"id": "a", "region": "PFC", "sex": "M"}, {"id": "b", "region": "CC", "sex": "F"}]
    encoded = encode_covariates(rows, VESSELS)
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[0, 1, 0, 0, 1], [1, 0, 1, 0, 0]]
    assert covariate_names(VESSELS) == ("sex=F", "sex=M", "region=CC", "region=HC", "region=PFC")
    assert covariate_width(VESSELS) == 5


def test_no_rows_and_no_covariates_keep_their_shape() -> None:
    """(0, W) and (N, 0)."""
    assert encode_covariates([], VESSELS).shape == (0, 5)
    assert encode_covariates([{}, {}], Columns()).shape == (2, 0)


def test_numbers_are_standardised_by_what_was_learnt() -> None:
    """Of the training rows; a number that never varies is not divided by 0."""
    cells = table(AGED, sex=["F"] * 3, age=["1", "3", None])
    scaling = fit_scaling(cells)
    assert scaling == {"age": (2.0, 1.0)}
    encoded = encode_covariates([{"sex": "F", "age": "5"}], AGED, scaling)
    assert encoded.tolist() == [[1, 0, 3]]
    assert fit_scaling(table(AGED, sex=["F"] * 3, age=["0.1"] * 3))["age"][1] == 1.0
    assert fit_scaling(table(AGED, sex=["F"], age=[None])) == {"age": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"sex": "X", "age": "1"}, r"S3V1: the covariate 'sex' must be one of 'F', 'M'.*got 'X'"),
        ({"sex": "f", "age": "1"}, "got 'f'"),
        ({"sex": None, "age": "1"}, "'sex' must be one of 'F', 'M'.*got nothing"),
        ({"age": "1"}, "got a row without that column"),
        ({"sex": "F", "age": "NaN"}, "'age' must be a number.*got 'NaN'"),
        ({"sex": "F", "age": math.nan}, "got 'nan'"),
        ({"sex": "F", "age": "inf"}, "got 'inf'"),
        ({"sex": "F", "age": "old"}, "got 'old'"),
        ({"sex": "F", "age": ""}, "'age' must be a number.*got nothing"),
    ],
)
def test_a_covariate_that_cannot_be_used_is_one_sentence(row: dict[str, Any], words: str) -> None:
    """It names the id, the column, what is known and what came."""
    with pytest.raises(InputError, match=words):
        encode_covariates([{"id": "S3V1", **row}], AGED)


def test_an_optional_covariate_may_be_missing_but_not_wrong() -> None:
    """It becomes zeros, for a standardised number the mean."""
    columns = Columns(covariates=AGED.covariates, optional=("sex", "age"))
    encoded = encode_covariates([{"sex": None, "age": "n/a"}], columns, {"age": (50.0, 9.0)})
    assert encoded.tolist() == [[0, 0, 0]]
    with pytest.raises(InputError, match="got 'X'"):
        encode_covariates([{"sex": "X", "age": "1"}], columns)


def test_a_category_may_be_called_none() -> None:
    """What the recipe names is no gap."""
    columns = Columns(covariates={"drug": ("none", "aspirin")})
    assert encode_covariates([{"drug": "none"}], columns).tolist() == [[1, 0]]


def test_classes_are_counted_and_others_are_only_scored() -> None:
    """Young 0, Aged 1; no label and a label of score_only are -1."""
    cells = table(VESSELS, **{"class": ["Aged", "Young", None, "Middle age"]})
    assert encode_classes(cells).tolist() == [1, 0, -1, -1]
    with pytest.raises(TableError, match="row 3: 'Old' in 'class' is none of the classes Young"):
        encode_classes(table(VESSELS, **{"class": ["Aged", "Old"]}))
    with pytest.raises(TableError, match="no classes are named"):
        encode_classes(table(AGED, age=["1"]))


def test_the_published_demographics_are_counted() -> None:
    """199 young, 161 aged and 52 of middle age; 220 female, 191 of the corpus callosum."""
    columns = Columns(
        id="Image ID",
        inputs={},
        target="Class",
        target_kind=("Young", "Aged"),
        score_only=("Middle age",),
        covariates={"Sex": ("F", "M"), "Region": ("CC", "HC", "PFC")},
    )
    cells = Table(pd.DataFrame(demographics(), dtype=object), columns, Path())
    assert np.unique(encode_classes(cells), return_counts=True)[1].tolist() == [52, 199, 161]
    encoded = encode_covariates(cells.frame.to_dict("records"), columns)
    assert encoded.sum(axis=0).tolist() == [220, 192, 191, 73, 148]
