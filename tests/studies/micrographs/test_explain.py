# SPDX-License-Identifier: Apache-2.0
"""Explanations are files that are really written, in raw coordinates, sorted by certainty."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from encephalon.errors import OutputExistsError, UsageError
from encephalon.explanation import images
from encephalon.explanation import run as explain_module
from encephalon.explanation.report import Explanations
from encephalon.io.atomic import json_text
from encephalon.studies.micrographs.quality import confidence_bins
from encephalon.studies.micrographs.settings import MicrographSettings
from encephalon.studies.micrographs.study import STUDY
from encephalon.tables.samples import Sample
from tests.studies.micrographs.standing_in import BOX, SIZE, model, write_samples


def explain(model: Any, samples: list[Sample], output: Path, **how: Any) -> Explanations:
    """As the study explains."""
    assert STUDY.explainable is not None
    return explain_module.explain(STUDY.explainable(model), samples, output, **how)


@pytest.fixture
def samples(tmp_path: Path, rng: np.random.Generator) -> list[Sample]:
    """Six images of 96 x 128 pixels in two animals; three have dark grains in a known box."""
    return write_samples(tmp_path, rng)


@dataclass(frozen=True)
class Done:
    """Six images explained: what came of it, where, and what was told on the way."""

    samples: list[Sample]
    result: Explanations
    folder: Path
    told: list[str]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One batch that several tests look at."""
    folder, told = tmp_path_factory.mktemp("explained"), list[str]()
    samples = write_samples(folder, np.random.default_rng(1))
    result = explain(
        model(),
        samples,
        folder / "out",
        progress=lambda count, total, name: told.append(f"{count}/{total} {name}"),
    )
    return Done(samples, result, folder / "out", told)


def _table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "explanations.csv").open(newline="", encoding="utf-8") as stream:
        return {row["id"]: row for row in csv.DictReader(stream)}


def test_maps_lie_on_the_raw_grid_where_the_grains_are(done: Done) -> None:
    """A float32 TIFF of the raw image's shape, in [0, 1], whose maximum lies in the box."""
    result = done.result
    assert (result.exit_code, len(result.rows)) == (0, 6)
    for sample in done.samples[1::2]:
        values = tifffile.imread(done.folder / "cam_images" / f"{sample.id}_cam.tif")
        assert (values.shape, values.dtype) == ((96, 128), np.float32)
        assert (values.min(), values.max()) == (0, 1)
        row, column = np.unravel_index(values.argmax(), values.shape)
        x, y, width, height = (float(sample.row[name]) for name in BOX)
        assert abs((column + 0.5) / 128 - x) < width / 2
        assert abs((row + 0.5) / 96 - y) < height / 2
    assert result.location is not None
    assert result.location.n == 3
    assert result.location.share.value > 0.7 > 2 * result.location.centre_prior.value
    assert result.location.hits.value == 1


def test_every_image_has_a_panel_in_the_folder_of_its_certainty(done: Done) -> None:
    """Image, heat map and overlay side by side, and each by itself; nothing stays empty."""
    out = done.folder
    rows = _table(out)
    assert {row["certainty"] for row in rows.values()} == {"certain_Young", "certain_Aged"}
    for name, row in rows.items():
        with Image.open(out / row["panel"]) as panel:
            assert panel.size == (3 * 512 + 2 * 8, 384 + 30)
        assert (out / row["panel"]).parent.name == row["certainty"]
        assert (out / row["map"]).is_file()
        with Image.open(out / "original_images" / f"{name}.png") as original:
            assert (original.size, original.mode) == ((512, 384), "L")
        with Image.open(out / "cam_images" / f"{name}_cam.png") as heat:
            assert (heat.size, heat.mode) == ((512, 384), "RGB")
    assert (rows["S1"]["class"], rows["S0"]["class"]) == ("Aged", "Young")
    assert float(rows["S1"]["probability"]) > 0.75
    assert float(rows["S1"]["inside_box"]) > 0.7
    assert rows["S0"]["inside_box"] == ""


def test_the_page_is_whole_and_surest_first(done: Done) -> None:
    """The report shows the checks and every image, and asks no network for anything."""
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "")
    assert "Is it where the answer lies?" in page
    assert "Does it depend on what was learnt?" in page
    sure = sorted(done.result.rows, key=lambda row: -max(row["likelihood"], 1 - row["likelihood"]))
    places = [page.index(f"<h3>{row['id']}</h3>") for row in sure]
    assert places == sorted(places)


def test_any_class_can_be_explained(samples: list[Sample], tmp_path: Path) -> None:
    """What speaks for the other class is another map, and the row says which class it is of."""
    first = explain(model(), samples[1:2], tmp_path / "said")
    other = explain(model(), samples[1:2], tmp_path / "other", target_class="Young")
    assert [one.rows[0]["class"] for one in (first, other)] == ["Aged", "Young"]
    assert [one.rows[0]["predicted"] for one in (first, other)] == ["Aged", "Aged"]
    total = first.rows[0]["probability"] + other.rows[0]["probability"]
    assert total == pytest.approx(1)
    maps = [tifffile.imread(tmp_path / one / "cam_images/S1_cam.tif") for one in ("said", "other")]
    assert not np.array_equal(*maps)


def test_published_folders_and_the_class_of_the_larger_logit(
    samples: list[Sample], tmp_path: Path
) -> None:
    """Certainty is that of the second class; the class is the arg-max of both logits."""
    explain(model(mode="published"), samples[:2], tmp_path / "out")
    rows = _table(tmp_path / "out")
    assert rows["S1"]["certainty"] == "certain_positive"
    assert rows["S0"]["certainty"] == "certain_negative"
    assert (tmp_path / "out" / "certain_positive" / "S1_panel.png").is_file()
    assert [rows[name]["class"] for name in ("S0", "S1")] == ["Young", "Aged"]


@pytest.mark.parametrize(
    ("likelihood", "folder"),
    [
        (0.25, "certain_negative"),
        (0.2500001, "uncertain_negative"),
        (0.5, "uncertain_negative"),
        (0.75, "uncertain_positive"),
        (0.7500001, "certain_positive"),
    ],
)
def test_published_folders_have_the_published_edges(likelihood: float, folder: str) -> None:
    """p > 0.75, p <= 0.25, (0.25-0.5] and (0.5-0.75] (3BTRON)."""
    values = {"likelihood": likelihood, "predicted": "Aged", "p_Aged": likelihood}
    assert confidence_bins(("Young", "Aged"), "published")(values) == folder


def test_sound_folders_follow_the_light_or_the_probability() -> None:
    """Amber is uncertain; without a light, so is a probability up to 0.75; names are safe."""
    classes = ("a/b", "c")
    amber = {"predicted": "c", "light": "Amber", "p_c": 0.9}
    assert confidence_bins(classes, "default")(amber) == "uncertain_c"
    for p, word in ((0.75, "uncertain"), (0.76, "certain")):
        values = {"predicted": "a/b", "p_a/b": p}
        assert confidence_bins(classes, "default")(values) == f"{word}_a-b"
    assert len(confidence_bins(classes, "default").names) == 4


def test_a_bad_file_fails_alone(samples: list[Sample], tmp_path: Path) -> None:
    """Its sentence is in the table, the report and the result; the others are done."""
    Path(samples[2].inputs["image"]).write_bytes(b"II*\0 cut short")
    result = explain(model(), samples[1:4], tmp_path / "out")
    assert result.exit_code == 1
    assert [one.id for one in result.failures] == ["S2"]
    assert "S2.tif" in _table(tmp_path / "out")["S2"]["error"]
    assert sum("error" not in row for row in result.rows) == 2
    assert "Without an explanation" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_nothing_is_replaced_unless_told_so(samples: list[Sample], tmp_path: Path) -> None:
    """A second batch is refused at once; with overwrite no image is in two folders."""
    out = tmp_path / "out"
    explain(model(), samples[:2], out)
    with pytest.raises(OutputExistsError, match=r"explanations\.csv"):
        explain(model(), samples[:2], out)
    (out / "certain_Young" / "S0_panel.png").rename(out / "certain_Aged" / "S0_panel.png")
    assert explain(model(), samples[:2], out, overwrite=True).exit_code == 0
    assert not (out / "certain_Aged" / "S0_panel.png").exists()
    assert (out / "certain_Young" / "S0_panel.png").exists()


def test_a_map_of_another_run_is_a_failure_of_its_own(
    samples: list[Sample], tmp_path: Path
) -> None:
    """Files without a table, as a killed run leaves them, are kept as well."""
    stray = tmp_path / "out" / "cam_images" / "S0_cam.tif"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"mine")
    result = explain(model(), samples[:2], tmp_path / "out")
    assert [one.id for one in result.failures] == ["S0"]
    assert stray.read_bytes() == b"mine"


def test_what_the_model_does_not_have_is_one_sentence(
    samples: list[Sample], tmp_path: Path
) -> None:
    """Classes, layers and images that are not there stop everything before any file."""
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no class 'aged'; did you mean 'Aged'"):
        explain(model(), samples, out, target_class="aged")
    with pytest.raises(UsageError, match=r"no layer 'encoder.layer5': the nearest are encoder"):
        explain(model(), samples, out, layer="encoder.layer5")
    blind = MicrographSettings(inputs="covariates")
    with pytest.raises(UsageError, match="sees covariates alone"):
        explain(model(settings=blind), samples, out)
    with pytest.raises(UsageError, match="give a table"):
        explain(model(), [Sample("S0", samples[0].inputs)], out)
    assert not out.exists()


def test_padding_and_data_bars_are_not_explained(tmp_path: Path, rng: np.random.Generator) -> None:
    """The map is NaN in rows that the network never saw."""
    samples = write_samples(tmp_path, rng, 2)
    bar: Any = {"mode": "crop", "rows": 16}
    settings = MicrographSettings(size=SIZE, percentiles=(0, 100), data_bar=bar)
    explain(model(settings=settings), samples, tmp_path / "out")
    values = tifffile.imread(tmp_path / "out" / "cam_images" / "S1_cam.tif")
    assert np.isnan(values[-16:]).all()
    assert np.isfinite(values[:-16]).all()


def test_covariates_are_weighed_where_enough_is_known(
    done: Done, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six images are too few by default; with enough of them, animals are the unit."""
    assert done.result.importance == {}
    monkeypatch.setattr(images, "_FEWEST", 6)
    result = explain(model(), samples, tmp_path / "out")
    assert list(result.importance) == ["sex"]
    assert result.importance["sex"].value != 0
    assert result.importance["sex"].units == 2
    assert "What else decides?" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_a_model_that_was_warned_of_says_why(tmp_path: Path, rng: np.random.Generator) -> None:
    """What is out of the ordinary about an image stands beside its map."""
    (sample,) = write_samples(tmp_path, rng, 1)
    odd = Sample("odd", sample.inputs, sample.row)
    result = explain(model(), [odd], tmp_path / "out")
    assert (result.rows[0]["quality"], result.rows[0]["reasons"]) == (
        "check",
        "its contrast is odd",
    )
    assert "its contrast is odd" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_the_result_is_plain_data_and_a_few_lines(done: Done) -> None:
    """What --json prints is JSON; what a person reads names the share inside the boxes."""
    assert done.told == [f"{n + 1}/6 S{n}" for n in range(6)]
    assert '"sanity"' in json_text(done.result.record())
    assert "of the maps lie inside the box" in str(done.result)
