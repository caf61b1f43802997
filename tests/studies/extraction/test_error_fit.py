# SPDX-License-Identifier: Apache-2.0
"""What `tools/extraction_errors.py` fits to rows whose law is known: the law, and sure chances."""

from __future__ import annotations

import importlib
import re
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.models.files import packaged_folder
from encephalon.models.folder import open_model, save_model
from encephalon.studies.extraction.data import sample_from_labels
from encephalon.studies.extraction.segmentation.evidence import expected_error
from encephalon.studies.extraction.settings import GOOD_DICE, ErrorModel, ExtractionSettings
from encephalon.transforms.parameters import SpatialRanges, SynthesisRanges
from tests.studies.extraction.tiny_heads import label_map

pytest.importorskip("torch")

TOOLS = Path(__file__).parents[3] / "tools"
NAMES = ("mirror", "slope", "idle")
CENTRE, SCALE = np.array([-4.0, 0.3, 100.0]), np.array([1.5, 0.1, 20.0])
#: Intercept, and a coefficient of each standardised number: log(1 - Dice), and log(1 + mL).
LOSS, MISSED, LEAKED = (-3.0, 0.5, 0.25, 0.0), (2.0, 0.4, 0.0, 0.0), (3.0, 0.0, -0.3, 0.0)
#: Of the logistic noise of log(1 - Dice), which makes the chance of a good mask logistic too.
NOISE = 0.3
MAPS = 20
#: Of the brain of `label_map`, mm.
RADIUS = 14.0


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """tools/extraction_errors.py as a module."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("extraction_errors")


def made_up(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows that follow the law; one map in four was kept for validation."""
    rng = np.random.default_rng(seed)
    standard = rng.normal(size=(count, len(NAMES)))
    loss = _line(LOSS, standard) + rng.logistic(0, NOISE, count)
    missed, leaked = (
        np.expm1(_line(line, standard) + rng.normal(0, 0.2, count)) for line in (MISSED, LEAKED)
    )
    told = CENTRE + SCALE * standard
    return [
        {
            "number": float(n),
            "group": f"map-{n % MAPS:02}",
            "ordinary": 1.0,
            "unseen_map": float(n % MAPS % 4 == 0),
            "dice": float(1 - np.exp(loss[n])),
            "missed_ml": float(max(missed[n], 0)),
            "leaked_ml": float(max(leaked[n], 0)),
            **dict(zip(NAMES, told[n].tolist(), strict=True)),
        }
        for n in range(count)
    ]


def _line(line: tuple[float, ...], standard: Any) -> Any:
    return line[0] + standard @ np.array(line[1:])


def test_the_law_is_found_again(tool: Any) -> None:
    """Every coefficient, of the errors and of the log-odds of a Dice above 0.94."""
    rows = made_up(4000)
    names = tool.names_of(rows)
    assert names == list(NAMES)
    fit = tool.fitted(rows, names)
    np.testing.assert_allclose((fit["centre"] - CENTRE) / SCALE, 0, atol=0.05)
    np.testing.assert_allclose(fit["scale"], SCALE, rtol=0.05)
    for key, line in (("loss", LOSS), ("missed", MISSED), ("leaked", LEAKED)):
        np.testing.assert_allclose(fit[key], line, atol=0.04)
    odds = [(np.log(1 - GOOD_DICE) - LOSS[0]) / NOISE, *(-one / NOISE for one in LOSS[1:])]
    np.testing.assert_allclose(fit["good"], odds, atol=0.15)


def test_chances_are_those_with_which_masks_are_good(tool: Any) -> None:
    """On rows that were not fitted: in each fifth of chances as many are good as were told."""
    model = ErrorModel.model_validate({"fits": [tool.fitted(made_up(4000), NAMES)]})
    rows = made_up(4000, seed=1)
    told = [expected_error({name: row[name] for name in NAMES}, model) for row in rows]
    chance = np.array([one.good for one in told if one])
    good = np.array([row["dice"] > GOOD_DICE for row in rows])
    assert len(chance) == len(rows)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        there = (chance >= low) & (chance < low + 0.2)
        spread = np.sqrt(np.sum(chance[there] * (1 - chance[there]))) / there.sum()
        assert there.sum() > 100
        assert good[there].mean() == pytest.approx(chance[there].mean(), abs=4 * spread)
    dice = np.array([one.dice for one in told if one])
    above = np.mean([row["dice"] for row in rows] > dice)
    assert above == pytest.approx(0.5, abs=0.04), "the Dice that is told is a median"


def test_maps_are_judged_by_fits_that_left_them_out(
    tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every map once, none by itself; and the table counts every head."""
    rows, fitted, seen = made_up(2000), tool.fitted, []

    def watched(some: list[dict[str, Any]], names: tuple[str, ...]) -> Any:
        seen.append({row["group"] for row in some})
        return fitted(some, names)

    monkeypatch.setattr(tool, "fitted", watched)
    text = tool.judged(rows, NAMES)
    every = {row["group"] for row in rows}
    left = [every - groups for groups in seen]
    assert sorted(group for groups in left for group in groups) == sorted(every)
    bins = re.findall(r"^\| (\S+) to (\S+) \| (\d+) \| (\S+) \|$", text, re.MULTILINE)
    assert sum(int(heads) for *_, heads, _ in bins) == len(rows)
    for low, high, heads, share in bins:
        slack = 3 / np.sqrt(max(int(heads), 1)) / 2
        assert float(low) - slack <= float(share) <= float(high) + slack
    wrong = [row["dice"] <= GOOD_DICE for row in rows]
    unseen = [row["unseen_map"] == 1 for row in rows]
    both = sum(w and u for w, u in zip(wrong, unseen, strict=True))
    assert f"all maps: {len(rows)} heads, {sum(wrong)} wrong" in text
    assert f"maps kept for validation: {sum(unseen)} heads, {both} wrong" in text


def test_what_is_raised_is_counted(tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six heads, three of a map kept for validation, against a count by hand."""
    told = [(0.99, 0.97), (0.99, 0.90), (0.50, 0.97), (0.10, 0.90), (0.96, 0.95), (0.60, 0.93)]
    said = [
        ({"dice": dice, "unseen_map": float(n % 2)}, good, dice + 0.01)
        for n, (good, dice) in enumerate(told)
    ]
    monkeypatch.setattr(tool, "told_when_left_out", lambda *_: said)
    text = tool.judged([row for row, _, _ in said], NAMES)
    off = "Dice off by 0.010 in the median"
    all_maps = f"all maps: 6 heads, 3 wrong, 3 raised, 2 both; of 3 not raised 2 good; {off}"
    unseen = f"for validation: 3 heads, 3 wrong, 2 raised, 2 both; of 1 not raised 0 good; {off}"
    assert all_maps in text
    assert unseen in text
    assert "| 0.95 to 1.00 | 3 | 0.67 |" in text
    assert "not judged" not in text


def test_too_few_maps_are_said_to_be_too_few(tool: Any) -> None:
    """One leaves nothing to fit; of two, of which one is always good, neither can be left out."""
    rows = made_up(60)
    one = [row | {"group": "a"} for row in rows]
    two = [row | {"group": "ab"[row["dice"] > GOOD_DICE]} for row in rows]
    for some in (one, two):
        assert "too few maps" in tool.judged(some, NAMES)


def test_heads_of_a_map_that_no_fit_can_do_without_are_counted(tool: Any) -> None:
    """Every wrong mask is of the map a: without it there is nothing to learn."""
    rows = made_up(200)
    good = [n for n, row in enumerate(rows) if row["dice"] > GOOD_DICE]
    maps = dict(zip(good[::4], "bc" * len(good), strict=False))
    text = tool.judged([row | {"group": maps.get(n, "a")} for n, row in enumerate(rows)], NAMES)
    assert f"all maps: {len(maps)} heads, 0 wrong" in text
    assert f"{200 - len(maps)} heads not judged" in text


def test_a_made_up_scan_has_the_brain_of_its_size(tool: Any) -> None:
    """Volumes grow with the cube of a size; the rim stays half a millimetre of the scan."""
    sample = sample_from_labels(label_map())
    settings = ExtractionSettings(grids={"coarse": [16] * 3, "fine": [24] * 3}, rim=0.5)
    still = {"rotation": 0.0, "scaling": 0.0, "shear": 0.0, "warp": 0.0, "any_orientation": 0.0}
    placement = SpatialRanges(**still)
    plain = SynthesisRanges(crop=0.0, oblique=0.0, deface=0.0, strip=0.0, thick=0.0, reshape=0.0)
    for size in (0.7, 1.0, 1.15):
        kind = ({"synthesis": plain, "placement": placement}, (size, size))
        scan, brain = tool.scan_and_brain(np.random.default_rng(0), sample, settings, kind)
        assert brain.shape == scan.shape
        radius = (brain.sum() * scan.volume_ml_per_voxel * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
        assert radius == pytest.approx(RADIUS * size + 0.5, abs=0.3)


def test_what_was_measured_is_not_measured_again(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads without a brain neither, and rows of another model stay where they are."""
    done: list[int] = []

    def answers(_work: Any, heads: Any, *_rest: Any) -> Any:
        done.extend(number for *_, number in heads)
        return [{"number": n} if n == 1 else made_up(9)[n] for *_, n in heads]

    monkeypatch.setattr(tool, "in_workers", answers)
    asked = Namespace(model=tmp_path, table=tmp_path, output=tmp_path, heads=4, jobs=1)
    monkeypatch.setattr(tool, "mark_of", lambda *_: "one")
    first = tool.measured(asked)
    assert [row["number"] for row in first] == [0, 2, 3]
    asked.heads = 6
    assert [row["number"] for row in tool.measured(asked)] == [0, 2, 3, 4, 5]
    assert done == [0, 1, 2, 3, 4, 5]
    asked.heads = 3
    assert [row["number"] for row in tool.measured(asked)] == [0, 2]
    kept = (tmp_path / "errors-one.csv").read_bytes()
    monkeypatch.setattr(tool, "mark_of", lambda *_: "two")
    tool.measured(asked)
    assert done == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert (tmp_path / "errors-one.csv").read_bytes() == kept


def test_what_a_fast_prediction_does_not_look_at_is_left_out(tool: Any) -> None:
    """The fit without the looks knows everything else, and one that never varied does no harm."""
    rows = [row | {"still": 1.0} for row in made_up(300)]
    names = tool.names_of(rows, tool.LOOKS)
    assert names == ["slope", "idle", "still"]
    fit = tool.fitted(rows, names)
    assert np.isfinite(np.concatenate([fit[key] for key in ("scale", "good", "loss")])).all()
    model = ErrorModel.model_validate({"fits": [fit]})
    assert model.fits[0].evidence == tuple(names)
    told = expected_error({"slope": 0.3, "idle": 100.0, "still": 1.0}, model)
    assert told is not None
    assert np.isfinite([told.good, told.dice, told.missed_ml, told.leaked_ml]).all()


def test_the_width_of_the_border_is_the_one_with_which_voxels_were_drawn(tool: Any) -> None:
    """Inside with odds that grow by a factor of e in so many mm; what is far does not count."""
    rng = np.random.default_rng(0)
    distance = rng.uniform(-15, 15, (60, 60, 60)).astype(np.float32)
    for spread in (0.6, 1.3, 2.5):
        inside = rng.random(distance.shape) < 1 / (1 + np.exp(-distance / spread))
        inside |= np.abs(distance) > tool.FAR
        rows = [{"ordinary": 1.0, "unseen_map": 1.0, **tool.log_losses(distance, inside)}]
        assert tool.likeliest_spread(rows) == spread
        assert tool.names_of([{"number": 0.0, **rows[0], "slope": 1.0}]) == ["slope"]


def test_a_head_without_a_known_distance_says_nothing_of_the_width(tool: Any) -> None:
    """It changes no choice, where a mean of nothing would make the first width win."""
    far = np.full((4, 4, 4), -100.0, np.float32)
    nothing = tool.log_losses(far, np.zeros(far.shape, bool))
    assert set(nothing.values()) == {0.0}
    near = tool.log_losses(np.full_like(far, 2.0), np.arange(64).reshape(far.shape) % 5 > 0)
    near, nothing = ({"ordinary": 1.0, "unseen_map": 1.0, **losses} for losses in (near, nothing))
    assert tool.likeliest_spread([near, nothing]) == tool.likeliest_spread([near])
    assert tool.likeliest_spread([near]) not in (tool.SPREADS[0], tool.SPREADS[-1])


def test_the_width_is_that_of_ordinary_heads_of_unseen_maps(tool: Any) -> None:
    """Others do not widen it, or make it narrower."""
    rng = np.random.default_rng(0)
    distance = rng.uniform(-9, 9, (60, 60, 60)).astype(np.float32)
    rows = []
    for ordinary, unseen, spread in ((1.0, 1.0, 1.0), (1.0, 0.0, 0.5), (0.0, 1.0, 2.5)):
        inside = rng.random(distance.shape) < 1 / (1 + np.exp(-distance / spread))
        row = {"ordinary": ordinary, "unseen_map": unseen}
        rows.append(row | tool.log_losses(distance, inside))
    assert tool.likeliest_spread(rows) == 1.0
    assert tool.likeliest_spread(rows[1:]) == 0.5
    assert tool.likeliest_spread(rows[2:]) == 2.5


def test_each_second_head_is_of_a_map_that_no_training_saw(tool: Any) -> None:
    """Every map comes in every kind, and a table of trained maps alone serves as well."""
    heads = [(f"map-{n}", "validation" if n % 4 == 3 else "train", None) for n in range(8)]
    found = [tool.drawn(number, heads) for number in range(48)]
    assert [one[0][1] != "train" for one in found] == [True, False] * 24
    kinds = range(len(tool.KINDS))
    met = {(one[0][0], tool.KINDS.index(one[1])) for one in found}
    assert met == {(f"map-{n}", 0 if kind == 2 else kind) for n in range(8) for kind in kinds}
    trained = [one for one in heads if one[1] == "train"]
    assert [tool.drawn(n, trained)[0][0] for n in range(6)] == [one[0] for one in trained]


def test_rows_of_other_weights_or_settings_are_told_apart(tool: Any, tmp_path: Path) -> None:
    """What is fitted afterwards is no other setting; what the network sees is."""
    shipped = open_model(packaged_folder() / "brain-extraction")
    marks = []
    table = tmp_path / "maps.csv"
    table.write_text("id,labels,group,split\n")
    for change in ({}, {"border_spread": 9.0}, {"unseen": -0.3}):
        recipe = {**shipped.description.recipe}
        recipe["study"] = {**recipe["study"], **change}
        folder = tmp_path / str(len(marks))
        graph = shipped.graph.read() if shipped.graph else None
        told = replace(shipped.description, recipe=recipe)
        save_model(folder, told, shipped.tensors(), graph)
        marks.append(tool.mark_of(folder, table))
    assert marks[0] == marks[1] != marks[2]
    table.write_text("id,labels,group,split\na,a.nii.gz,a,train\n")
    assert tool.mark_of(tmp_path / "0", table) != marks[0]
