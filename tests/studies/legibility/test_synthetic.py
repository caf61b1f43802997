# SPDX-License-Identifier: Apache-2.0
"""The synthetic cohort: what was planted can be found, and no more than that."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from encephalon.errors import OutputExistsError
from encephalon.io.reading import read_image
from encephalon.io.text import read_records
from encephalon.studies.base import Done
from encephalon.studies.legibility.cohort import load_cohort
from encephalon.studies.legibility.cohort_folder import write_cohort as prepare_cohort
from encephalon.studies.legibility.commands import SIMULATORS, PeopleOptions
from encephalon.studies.legibility.synthetic import (
    Size,
    as_prepared,
    carriers,
    declare_cohort,
    write_cohort,
)
from encephalon.synthetic.brain_images import BrainImages
from encephalon.synthetic.connectome import Connectome
from encephalon.synthetic.people import (
    IMAGES,
    NUISANCES,
    SITES,
    TARGETS,
    People,
    ceiling,
    draw_people,
)
from encephalon.transforms.template import mni_grid

MANY = draw_people(20_000, 1)
SETS = (
    ("t1",),
    ("t1", "flair"),
    ("connectivity", "serology"),
    ("t1", "flair", "dwi", "connectivity"),
    ("constitutional", "serology", "psychology", "disease"),
    tuple(MANY.signals),
)


def told(people: People, target: str, inputs: tuple[str, ...]) -> np.ndarray:
    """What signals say of a target (N, 1), or of each of its classes (N, C)."""
    planted = TARGETS[target]
    held = {name: people.signals[name][target] for name in inputs if target in people.signals[name]}
    known = sum(
        (np.sqrt(planted.shares[n]) * held[n] for n in held), np.zeros((len(people.ids), 1))
    )
    if not planted.nominal:
        return known
    from scipy.linalg import helmert

    return known @ helmert(len(planted.classes)) if held else np.zeros((len(people.ids), 2))


@pytest.mark.parametrize("inputs", SETS, ids="+".join)
@pytest.mark.parametrize("target", TARGETS)
def test_the_best_prediction_reaches_its_ceiling(target: str, inputs: tuple[str, ...]) -> None:
    best, truth, known = ceiling(target, inputs), MANY.truth[target], told(MANY, target, inputs)
    if "r2" in best:
        error = truth - TARGETS[target].mean - TARGETS[target].sd * known[:, 0]
        assert 1 - error.var() / truth.var() == pytest.approx(best["r2"], abs=0.02)
        assert np.abs(error).mean() == pytest.approx(best["mae"], rel=0.02)
        return
    count = len(TARGETS[target].classes)
    if TARGETS[target].kind == "ordinal":
        found = likeliest_part(known[:, 0], sum(TARGETS[target].shares.get(n, 0) for n in inputs))
    else:
        found = known.argmax(axis=1)
    shares = [np.mean(found[truth == one] == one) for one in range(count)]
    assert np.mean(shares) == pytest.approx(best["balanced_accuracy"], abs=0.015)


def likeliest_part(known: np.ndarray, share: float) -> np.ndarray:
    """The likeliest third of a normal number of which `known` is `share` of the variance."""
    rest = np.random.default_rng(0).standard_normal((400, 1)) * np.sqrt(1 - share)
    parts = np.digitize(known + rest, [-0.4307, 0.4307])  # thirds of a normal distribution
    return np.stack([(parts == one).mean(axis=0) for one in range(3)]).argmax(axis=0)


def test_a_straight_line_through_all_signals_finds_no_more_than_the_ceiling() -> None:
    """Of age from everything at once: no input shows anything of it besides its own signal."""
    every = np.concatenate([MANY.of(name) for name in MANY.signals], axis=1)
    design = np.column_stack([np.ones(len(every)), every])
    truth = MANY.truth["age"]
    error = truth - design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    best = ceiling("age", MANY.signals)["r2"]
    assert 1 - error.var() / truth.var() == pytest.approx(best, abs=0.01)


def test_nothing_tells_handedness_and_no_target_is_told_by_its_own_domain() -> None:
    assert ceiling("handedness", MANY.signals) == pytest.approx(
        {"balanced_accuracy": 0.5, "roc_auc": 0.5}
    )
    assert all(one.domain not in one.shares for one in TARGETS.values())


def test_of_two_classes_the_curve_has_the_area_that_was_planted() -> None:
    truth, known = MANY.truth["sex"], told(MANY, "sex", ("t1", "dwi"))
    score = known[:, 1] - known[:, 0]
    order = np.argsort(np.argsort(score)) + 1
    men = truth == 1
    area = (order[men].sum() - men.sum() * (men.sum() + 1) / 2) / (men.sum() * (~men).sum())
    assert area == pytest.approx(ceiling("sex", ("t1", "dwi"))["roc_auc"], abs=0.01)


def test_families_share_what_no_input_shows() -> None:
    first = np.flatnonzero(np.diff(MANY.family) == 0)
    looks = MANY.looks["t1"]
    alike = np.corrcoef(looks[first, 0], looks[first + 1, 0])[0, 1]
    assert alike == pytest.approx(0.5, abs=0.05)
    signals = MANY.signals["t1"]["age"][:, 0]
    assert np.corrcoef(signals[first], signals[first + 1])[0, 1] == pytest.approx(0, abs=0.05)


def found_by_line(features: np.ndarray, signals: np.ndarray) -> np.ndarray:
    """R2 of each signal in people that a ridge regression has not seen."""
    features = features - features.mean(axis=0)
    half = len(features) // 2
    learnt, seen = features[:half], features[half:]
    gram = learnt @ learnt.T
    weights = np.linalg.solve(gram + 1e-3 * np.trace(gram) / half * np.eye(half), signals[:half])
    error = signals[half:] - seen @ learnt.T @ weights
    return 1 - (error**2).mean(axis=0) / signals[half:].var(axis=0)


@pytest.mark.parametrize("source", IMAGES)
def test_images_show_their_signals(source: str) -> None:
    people, brain = draw_people(160, 3), BrainImages(mni_grid(16), IMAGES, 5, NUISANCES, len(SITES))
    signals, looks = people.of(source), people.looks[source]
    images = [
        as_prepared(
            brain.draw(source, signals[n], looks[n], people.site[n], np.random.default_rng(n)),
            brain.mask,
        )
        for n in range(160)
    ]
    features = np.stack([image[brain.mask] for image in images]).astype(float)
    assert found_by_line(features, signals).min() > 0.8


def test_connectivity_shows_its_signals_and_is_of_correlations() -> None:
    people = draw_people(400, 3)
    signals, looks = people.of("connectivity"), people.looks["connectivity"]
    connectome = Connectome(24, signals.shape[1], NUISANCES, len(SITES))
    matrices = [
        connectome.draw(signals[n], looks[n], people.site[n], np.random.default_rng(n))
        for n in range(400)
    ]
    assert all(np.linalg.eigvalsh(one)[0] > 0 for one in matrices)
    assert all((one == one.T).all() and (np.diag(one) == 1).all() for one in matrices)
    features = np.arctanh(np.stack([one[connectome.upper] for one in matrices]))
    assert found_by_line(features, signals).min() > 0.8


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_mean_of_its_carriers_is_a_signal(tmp_path: Path) -> None:
    size = Size(80, seed=2, images=False)
    rows = read_table(write_cohort(tmp_path / "people", size, prepared=True))
    signal = draw_people(size.people, size.seed).signals["serology"]["diagnosis"][:, 1]
    first, second = carriers("serology")["diagnosis-2"]
    pairs = [
        ((float(row[first]) + float(row[second])) / 2, known)
        for row, known in zip(rows, signal, strict=True)
        if row[first] and row[second]
    ]
    assert len(pairs) > 60
    assert np.array(pairs)[:, 0] == pytest.approx(np.array(pairs)[:, 1], abs=1e-3)


@pytest.mark.parametrize("prepared", [False, True], ids=["raw", "prepared"])
def test_a_seed_is_a_cohort_to_the_byte(tmp_path: Path, prepared: bool) -> None:
    size = Size(6, seed=5, side=16, regions=8)
    folders = [write_cohort(tmp_path / name, size, prepared=prepared).parent for name in ("a", "b")]
    files = [sorted(p.relative_to(f) for p in f.rglob("*") if p.is_file()) for f in folders]
    assert files[0] == files[1]
    assert len(files[0]) == 6 * 3 + (6 if prepared else 2) + 4
    for name in files[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    other = write_cohort(tmp_path / "c", Size(6, seed=6, side=16, regions=8)).parent
    assert (other / "people.csv").read_bytes() != (folders[0] / "people.csv").read_bytes()


@pytest.mark.parametrize("prepared", [False, True], ids=["raw", "prepared"])
def test_the_cohort_file_declares_what_was_written(tmp_path: Path, prepared: bool) -> None:
    size = Size(5, side=16, regions=8)
    folder = write_cohort(tmp_path / "people", size, prepared=prepared).parent
    file = folder / ("cohort.toml" if prepared else "COHORT.toml")
    declared = load_cohort(file)
    assert declared == declare_cohort(size, prepared)
    assert {one.kind for one in declared.targets.values()} == {
        "continuous", "binary", "multiclass", "ordinal"
    }  # fmt: skip
    assert {target.domain for target in declared.targets.values()} == set(declared.blocks)
    columns, rows = read_records(folder / "people.csv")
    wanted = {"id", "family", "site", "head_size"}
    wanted |= {name for block in declared.blocks.values() for name in block.columns}
    assert set(columns) == wanted | (set(declared.sources) if prepared else set())
    if prepared:
        assert all((folder / row[name]).is_file() for row in rows for name in declared.sources)
        image = np.load(folder / rows[0]["t1"])
        assert (image.shape, image.dtype) == ((16, 16, 16), np.float16)
        assert image.min() == image[0, 0, 0] == -1
        assert image.max() <= 1
        assert np.load(folder / rows[0]["connectivity"]).shape == (28,)
    else:
        image = read_image(folder / declared.sources["t1"].files.format(id=rows[0]["id"]))
        assert image.shape == (16, 16, 16)
        ids = (folder / "connectivity.txt").read_text(encoding="utf-8").split()
        assert ids == [row["id"] for row in rows]
        assert np.load(folder / "connectivity.npy").shape == (5, 8, 8)


def test_a_prepared_cohort_is_what_preparation_makes_of_the_files(tmp_path: Path) -> None:
    size = Size(60, seed=2, missing=0.3, images=False, regions=8)
    raw = write_cohort(tmp_path / "raw", size)
    prepare_cohort(raw, tmp_path / "made")
    ready = write_cohort(tmp_path / "ready", size, prepared=True).parent
    made = read_table(tmp_path / "made" / "people.csv")
    assert sorted(made[0]) == sorted(read_table(ready / "people.csv")[0])
    for row, wanted in zip(made, read_table(ready / "people.csv"), strict=True):
        assert row == wanted
        if file := row["connectivity"]:
            assert np.array_equal(np.load(tmp_path / "made" / file), np.load(ready / file))
    assert load_cohort(tmp_path / "made" / "cohort.toml") == load_cohort(ready / "cohort.toml")


def test_ceilings_cover_every_set_of_units(tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "people", Size(4, side=16, regions=8), prepared=True).parent
    rows = read_table(folder / "ceilings.csv")
    units = declare_cohort(Size(4)).units
    assert len({row["inputs"] for row in rows}) == 2 ** len(units) - 1
    assert {row["target"] for row in rows} == set(TARGETS)
    best = {(row["target"], row["inputs"], row["metric"]): float(row["best"]) for row in rows}
    assert best["age", "t1+flair+connectivity", "r2"] == pytest.approx(0.57)
    told = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert told["targets"]["age"]["shares"] == TARGETS["age"].shares


def test_inputs_are_missing_unit_by_unit_and_nobody_lacks_all(tmp_path: Path) -> None:
    size = Size(300, seed=1, missing=0.6, images=False, regions=8)
    rows = read_table(write_cohort(tmp_path / "people", size, prepared=True))
    blocks = declare_cohort(size).blocks
    has = np.array(
        [
            [bool(row["connectivity"]), *(any(row[c] for c in b.columns) for b in blocks.values())]
            for row in rows
        ]
    )
    assert has.any(axis=1).all()
    assert (1 - has.mean(axis=0)) == pytest.approx(0.6, abs=0.1)
    small = Size(30, seed=1, missing=0.4, side=16, regions=8)
    rows = read_table(write_cohort(tmp_path / "small", small, prepared=True))
    assert all(bool(row["t1"]) == bool(row["flair"]) for row in rows)
    assert {bool(row["t1"]) for row in rows} == {True, False}


def test_without_missing_inputs_a_few_cells_are_empty_all_the_same(tmp_path: Path) -> None:
    size = Size(200, images=False, regions=8)
    rows = read_table(write_cohort(tmp_path / "people", size, prepared=True))
    blocks = declare_cohort(size).blocks.values()
    empty = [not row[name] for row in rows for block in blocks for name in block.columns]
    assert np.mean(empty) == pytest.approx(0.03, abs=0.01)
    assert all(row["site"] and row["family"] and row["head_size"] for row in rows)


def test_nothing_is_overwritten_unasked_and_nothing_but_a_cohort_at_all(tmp_path: Path) -> None:
    size, place = Size(3, images=False, regions=8), tmp_path / "people"
    table = write_cohort(place, size, prepared=True)
    before = table.read_bytes()
    with pytest.raises(OutputExistsError, match="exists already"):
        write_cohort(place, Size(3, seed=1, images=False, regions=8), prepared=True)
    assert table.read_bytes() == before
    write_cohort(place, Size(3, seed=1, images=False, regions=8), prepared=True, overwrite=True)
    assert table.read_bytes() != before
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(OutputExistsError, match="holds no synthetic cohort"):
        write_cohort(other, size, overwrite=True)
    assert (other / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_the_command_writes_a_cohort_and_counts_as_it_goes(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    asked = PeopleOptions(output=tmp_path / "people", people=4, side=16, regions=8)
    command = SIMULATORS["cohort"]
    done: Done = command.run(asked, lambda a, b, _: seen.append((a, b)))
    assert done.data["cohort"] == tmp_path / "people" / "COHORT.toml"
    assert done.data["ceilings"].is_file()
    assert seen == [(n, 16) for n in range(1, 17)]
