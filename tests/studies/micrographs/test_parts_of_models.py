# SPDX-License-Identifier: Apache-2.0
"""Model folders whose parts are of two models: never a class that another part calls otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from encephalon.api import load_model
from encephalon.errors import ModelError
from encephalon.io.atomic import sha256
from encephalon.tables.samples import Sample
from tests.studies.micrographs.linear_model import graph, write_model, write_pictures


def test_a_graph_of_other_classes_is_refused(tmp_path: Path) -> None:
    """Three classes of a model whose network tells two apart have no probabilities."""
    write_pictures(tmp_path)
    classes = '["Young", "Aged", "Old"]'
    model = write_model(tmp_path / "model", {"table.target_kind": classes})
    path, text = model.path / "graph.onnx", (model.path / "model.toml").read_text("utf-8")
    known = sha256(path)
    path.write_bytes(graph(2, True))
    (model.path / "model.toml").write_text(text.replace(known, sha256(path)), "utf-8")
    predictor = load_model(model.path, device="cpu", threads=1).predictor
    row = {"id": "S0", "sex": "F", "region": "PFC", "animal": "A0"}
    sample = Sample("S0", {"image": tmp_path / "S0.tif"}, row)
    with pytest.raises(ModelError, match=r"\[1, 3\].* Aged, Old, but gives \[1, 2\]"):
        predictor.predict(predictor.read(sample))


@pytest.mark.parametrize("section", ["labels", "recipe.table"])
def test_classes_in_two_orders_are_refused(section: str, tmp_path: Path) -> None:
    """Which of them a number is would hang on who reads it."""
    path = write_model(tmp_path / "model").path / "model.toml"
    told = {"labels": '0 = "Young"\n1 = "Aged"', "recipe.table": 'target_kind = ["Young", "Aged"]'}
    swapped = told[section].replace("Young", "-").replace("Aged", "Young").replace("-", "Aged")
    text = path.read_text("utf-8")
    assert told[section] in text
    path.write_text(text.replace(told[section], swapped), "utf-8")
    with pytest.raises(ModelError, match=rf"Young, Aged in .* Aged, Young in \[{section}\]"):
        load_model(path.parent, device="cpu", threads=1)
