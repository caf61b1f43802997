# SPDX-License-Identifier: Apache-2.0
"""A class and its probability for every image, and one sentence for what has none."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from encephalon.api import load_model
from encephalon.errors import InputError, UsageError
from encephalon.inference.batch import BatchResult
from encephalon.inference.outputs import OutputLayout
from encephalon.inference.predictor import Predictor
from encephalon.studies.micrographs.preprocessing import Preprocessing
from encephalon.studies.micrographs.quality import confidence_bins
from encephalon.tables.samples import Sample
from tests.inference.conftest import predict_all
from tests.studies.micrographs.linear_model import (
    CALIBRATION,
    OVERRIDES,
    covariate_weights,
    open_linear,
    pixel_weights,
    write_model,
    write_pictures,
)
from tests.studies.micrographs.rows import read_rows, write_rows


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test's own, so that nothing is cached elsewhere."""
    monkeypatch.setenv("ENCEPHALON_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sample(folder: Path, number: int = 0, **cells: Any) -> Sample:
    """One image with its row."""
    row = {"id": f"S{number}", "sex": "F", "region": "PFC", "animal": "A0", **cells}
    return Sample(f"S{number}", {"image": folder / f"S{number}.tif"}, row)


def expected_logits(path: Path, sex: int, region: int) -> np.ndarray:
    """What the linear network says of an image: (2,)."""
    from encephalon.recipes.loading import load_recipe
    from encephalon.studies.micrographs.settings import micrograph_settings

    settings = micrograph_settings(load_recipe("micrographs", OVERRIDES))
    picture = Preprocessing(settings, "default").read(path)
    logits = picture.image.reshape(-1) @ pixel_weights(2)
    return logits + covariate_weights(2)[sex] + covariate_weights(2)[2 + region]


def batch(model: Any, samples: list[Sample], out: Path) -> BatchResult:
    return predict_all(model.predictor, samples, OutputLayout(out, table=out / "predictions.csv"))


def test_the_row_has_the_calibrated_probabilities_of_the_network(tmp_path: Path) -> None:
    """Class, light and probabilities follow from pixels, covariates, calibration, thresholds."""
    write_pictures(tmp_path)
    model = open_linear(tmp_path)
    assert isinstance(model.predictor, Predictor)
    values = model.predictor.predict(model.predictor.read(sample(tmp_path))).values
    logits = expected_logits(tmp_path / "S0.tif", 0, 2)
    young, aged = CALIBRATION.apply(logits[None])[0]
    assert values["likelihood"] == values["p_Aged"] == pytest.approx(aged, abs=1e-5)
    assert values["p_Young"] == pytest.approx(young, abs=1e-5)
    assert (values["predicted"], values["light"]) == ("Young", "Green")
    names = ["predicted", "light", "likelihood", "p_Young", "p_Aged", "sex", "region", "animal"]
    assert list(values) == names


def test_a_table_is_predicted_from_end_to_end(tmp_path: Path) -> None:
    """Bright on the right is aged; predictions.csv repeats the cells, and the page is written."""
    table = write_pictures(tmp_path)
    result = open_linear(tmp_path).predict_batch([table], tmp_path / "out")
    assert result.exit_code == 0
    rows = read_rows(tmp_path / "out" / "predictions.csv")
    assert [row["predicted"] for row in rows] == [row["class"] for row in rows]
    assert {row["vessel"] for row in rows} == {"V0", "V1", "V2", "V3"}
    assert result.report is not None
    assert "Classes of images" in result.report.read_text(encoding="utf-8")


def test_plain_images_are_refused_once_where_covariates_are_needed(tmp_path: Path) -> None:
    """One sentence names the columns; no image is read and nothing written."""
    write_pictures(tmp_path)
    model = open_linear(tmp_path)
    files = [tmp_path / "S0.tif", tmp_path / "S1.tif"]
    with pytest.raises(UsageError, match=r"sex and region.*id, image, sex, region"):
        model.predict_batch(files, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="give a table"):
        model.predictor.read(Sample("S0", {"image": files[0]}))


def test_a_model_of_images_alone_takes_plain_images(tmp_path: Path) -> None:
    """Without covariates in the network no table is asked for."""
    write_pictures(tmp_path)
    model = open_linear(tmp_path, {"study.inputs": '"image"'})
    assert model.predict(tmp_path / "S4.tif").values["predicted"] == "Aged"


def test_bad_samples_fail_alone_with_a_sentence_each(tmp_path: Path) -> None:
    """Unknown category, NaN, empty cell, truncated, colour and missing file: the rest is done."""
    write_pictures(tmp_path)
    whole = (tmp_path / "S3.tif").read_bytes()
    (tmp_path / "S3.tif").write_bytes(whole[: len(whole) // 2])
    colours = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "S4.tif", colours, photometric="rgb")
    samples = [
        sample(tmp_path, 0, sex="X"),
        sample(tmp_path, 1, region="nan"),
        sample(tmp_path, 2, sex=None),
        sample(tmp_path, 3),
        sample(tmp_path, 4),
        sample(tmp_path, 99),
        sample(tmp_path, 5),
    ]
    result = batch(open_linear(tmp_path), samples, tmp_path / "out")
    words = ("'sex'.*'F'.*'M'", "'region'", "'sex'", r"S3\.tif", "colour", r"S99\.tif")
    assert [failure.id for failure in result.failures] == [f"S{n}" for n in (0, 1, 2, 3, 4, 99)]
    for failure, word in zip(result.failures, words, strict=True):
        with pytest.raises(InputError, match=word):
            raise failure.error  # type: ignore[misc]
    assert read_rows(tmp_path / "out" / "predictions.csv")[-1]["predicted"] == "Aged"


@pytest.mark.parametrize(
    ("options", "light"),
    [
        ({}, "Green"),
        ({"green": 0.0, "amber": 0.9}, "Amber"),
        ({"green": 0.0, "amber": 0.0}, "Red"),
        ({"amber": 0.5}, "Green"),
    ],
)
def test_the_light_follows_the_thresholds_asked_for(
    options: dict[str, float], light: str, tmp_path: Path
) -> None:
    """A threshold that is not asked for is the model's own."""
    write_pictures(tmp_path)
    predictor = open_linear(tmp_path, **options).predictor
    assert predictor.predict(predictor.read(sample(tmp_path))).values["light"] == light


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"green": 0.7}, "green is 0.7 and amber 0.6"),
        ({"green": 0.8, "amber": 0.2}, "green must not be above amber"),
        ({"green": -0.1}, "green"),
        ({"lights": 1}, "unknown key 'lights'"),
        ({"clip_16_bit": True}, "default"),
    ],
)
def test_options_that_make_no_sense_are_one_sentence(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """Wrong order, out of range, unknown, of the other mode: all before any work."""
    with pytest.raises(UsageError, match=words):
        open_linear(tmp_path, **options)


def test_an_image_unlike_the_training_gets_a_class_and_no_light(tmp_path: Path) -> None:
    """Row and page say so and why, however sure the network is; amber is no way out either."""
    table = write_pictures(tmp_path)
    model = open_linear(tmp_path, learned={"ranges": {"rows": (400.0, 400.0)}})
    result = model.predict_batch([table], tmp_path / "out")
    rows = read_rows(tmp_path / "out" / "predictions.csv")
    assert {(row["light"], row["quality"]) for row in rows} == {("", "check")}
    assert {row["predicted"] for row in rows} == {"Young", "Aged"}
    assert all("number of rows is 40" in row["reasons"] for row in rows)
    assert all(row["reasons"].endswith("unlike the training: no light") for row in rows)
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    assert "unlike the training: no light" in page
    assert not any(f">{light}<" in page for light in ("Green", "Amber", "Red"))


def test_an_image_unlike_the_training_is_never_filed_as_certain() -> None:
    """An empty light is no certainty, whatever the probability."""
    classes = ("Young", "Aged")
    values = {"predicted": "Aged", "p_Aged": 1.0, "likelihood": 1.0}
    assert confidence_bins(classes, "default")({**values, "light": "Red"}) == "certain_Aged"
    assert confidence_bins(classes, "default")({**values, "light": ""}) == "uncertain_Aged"
    assert confidence_bins(classes, "default")(values) == "certain_Aged"


def test_one_threshold_alone_is_not_enough_without_the_others(tmp_path: Path) -> None:
    """A model without a light needs both; with none asked for there is none."""
    with pytest.raises(UsageError, match="give both"):
        open_linear(tmp_path, green=0.3, learned={"thresholds": None})
    predictor = open_linear(tmp_path, learned={"thresholds": None}).predictor
    assert predictor.lights(np.array([[0.5, 0.5]]), [None]) is None


def test_thresholds_are_not_used_on_a_score_that_they_were_not_chosen_on(tmp_path: Path) -> None:
    """Those of calibrated probabilities say nothing of a sigmoid; those asked for are used."""
    assert open_linear(tmp_path, score="softmax").predictor.thresholds is not None
    assert open_linear(tmp_path, score="sigmoid_logit1").predictor.thresholds is None
    asked = open_linear(tmp_path, score="sigmoid_logit1", green=0.2, amber=0.8).predictor
    assert asked.thresholds == (0.2, 0.8)


def test_three_classes_have_probabilities_and_no_light(tmp_path: Path) -> None:
    """The last class is the bright right side; asking for a light is refused."""
    write_pictures(tmp_path)
    classes = {"table.target_kind": '["a", "b", "c"]', "table.score_only": "[]"}
    predictor = open_linear(tmp_path, classes).predictor
    values = predictor.predict(predictor.read(sample(tmp_path, 4))).values
    assert values["predicted"] == "c"
    assert "light" not in values
    assert "likelihood" not in values
    assert sum(float(values[f"p_{name}"]) for name in "abc") == pytest.approx(1)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="3 classes"):
        open_linear(tmp_path, classes, green=0.2)
    with pytest.raises(UsageError, match="two classes"):
        open_linear(tmp_path, classes, score="sigmoid_logit1")


def test_two_views_are_averaged(tmp_path: Path) -> None:
    """With its mirror image no side is the right one: bright left or right is the same."""
    write_pictures(tmp_path)
    predictor = open_linear(tmp_path, {"study.repeats_of_image": "2"}).predictor
    loaded = predictor.read(sample(tmp_path, 0))
    flipped = type(loaded)(loaded.sample, loaded.picture, loaded.covariates)
    flipped.picture.image[:] = loaded.picture.image[..., ::-1].copy()
    np.testing.assert_allclose(predictor.logits(loaded), predictor.logits(flipped), atol=1e-6)
    once = open_linear(tmp_path).predictor
    mirrored = once.predict(once.read(sample(tmp_path, 4))).values["likelihood"]
    assert once.predict(once.read(sample(tmp_path, 0))).values["likelihood"] != mirrored


def test_pictures_are_kept_by_the_content_of_their_file(tmp_path: Path, home: Path) -> None:
    """The second time nothing is preprocessed; another content is, whatever the file's name."""
    write_pictures(tmp_path)
    predictor = open_linear(tmp_path).predictor
    first = predictor.read(sample(tmp_path, 0)).picture
    entries = set((home / "cache" / "pictures").rglob("*.npz"))
    assert len(entries) == 1
    again = open_linear(tmp_path).predictor.read(sample(tmp_path, 0)).picture
    assert set((home / "cache" / "pictures").rglob("*.npz")) == entries
    np.testing.assert_array_equal(first.image, again.image)
    (tmp_path / "S0.tif").write_bytes((tmp_path / "S4.tif").read_bytes())
    other = predictor.read(sample(tmp_path, 0)).picture
    assert not np.array_equal(first.image, other.image)


def test_nothing_is_kept_without_a_cache(tmp_path: Path, home: Path) -> None:
    """The option cache=false leaves no file behind."""
    write_pictures(tmp_path)
    open_linear(tmp_path, cache=False).predictor.read(sample(tmp_path, 0))
    assert not home.exists()


def test_a_page_and_colour_can_be_asked_for(tmp_path: Path) -> None:
    """What training refused, prediction takes when it is told how."""
    write_pictures(tmp_path)
    planes = np.random.default_rng(0).integers(0, 255, (3, 40, 40), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "S0.tif", planes, photometric="minisblack")
    Image.fromarray(np.moveaxis(planes, 0, -1)).save(tmp_path / "S1.png")
    refusing = open_linear(tmp_path).predictor
    with pytest.raises(InputError, match="page=1"):
        refusing.read(sample(tmp_path, 0))
    predictor = open_linear(tmp_path, page=2, colour="luminance").predictor
    assert predictor.read(sample(tmp_path, 0)).picture.facts["rows"] == 40
    coloured = Sample("S1", {"image": tmp_path / "S1.png"}, {"sex": "F", "region": "CC"})
    assert open_linear(tmp_path, colour="luminance").predictor.read(coloured).picture is not None


def test_cells_whose_name_is_taken_get_another(tmp_path: Path) -> None:
    """A group called "source" must not hide where the image came from."""
    write_pictures(tmp_path)
    model = open_linear(tmp_path, {"table.group": '"source"', "study.levels": '["predicted"]'})
    one = sample(tmp_path, 0, source="A7", predicted="V1")
    result = batch(model, [one], tmp_path / "out")
    assert result.exit_code == 0
    (row,) = read_rows(tmp_path / "out" / "predictions.csv")
    assert (row["table_source"], row["table_predicted"]) == ("A7", "V1")
    assert row["source"].endswith("S0.tif")


def test_a_number_is_scaled_as_in_training(tmp_path: Path) -> None:
    """The mean and deviation of the training rows are applied, not those of the new ones."""
    write_pictures(tmp_path)
    covariates = {"table.covariates": '{ sex = ["F", "M"], region = ["CC", "HC"], age = "number" }'}
    learned = {"scaling": {"age": (10.0, 4.0)}}
    predictor = open_linear(tmp_path, covariates, learned=learned).predictor
    loaded = predictor.read(sample(tmp_path, 0, region="HC", age="18"))
    assert loaded.covariates.tolist() == [[1, 0, 0, 1, 2]]


def test_pictures_prepared_in_another_way_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model of another version's preprocessing still runs, and says so."""
    caplog.set_level(logging.WARNING, "encephalon")
    key = open_linear(tmp_path).predictor.fitted.key
    assert key.startswith("default ")
    open_linear(tmp_path, learned={"key": key.replace("default", "sound", 1)})  # of before
    assert not caplog.records
    open_linear(tmp_path, learned={"key": "default version=0"})
    assert "train it again" in caplog.text


def test_prediction_never_imports_torch(tmp_path: Path) -> None:
    """The whole way from a table to the page, on the inference-only install."""
    table = write_pictures(tmp_path, 2)
    model = write_model(tmp_path / "model").path
    code = (
        "import sys, encephalon\n"
        f"result = encephalon.predict({str(model)!r}, {str(table)!r}, {str(tmp_path / 'out')!r})\n"
        "heavy = {'torch', 'monai', 'sklearn', 'skimage'} & set(sys.modules)\n"
        "assert not result.failures and not heavy, (result.failures, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_network_of_a_trained_model_agrees_with_its_graph(tmp_path: Path) -> None:
    """torch_network() holds the weights of the folder: the same logits as the exported graph."""
    import torch

    from encephalon.models.folder import open_model, save_model
    from encephalon.networks.export import export_graph, half_precision
    from encephalon.networks.registry import build_network
    from encephalon.recipes.loading import make_recipe
    from encephalon.studies.micrographs.settings import network_options

    layers = {"layers": "[1, 1, 1, 1]", "widths": "[4, 4, 4, 4]", "hidden": "4"}
    tiny = {f"network.options.{name}": value for name, value in layers.items()}
    about = write_model(tmp_path / "shape", tiny).description
    recipe = make_recipe(about.recipe, "test")
    torch.manual_seed(5)
    network = build_network(recipe.network.name, network_options(recipe)).eval()
    state = half_precision(network.state_dict())
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    export_graph(
        network,
        tmp_path / "g.onnx",
        (torch.rand(2, 1, 32, 32), torch.rand(2, 5)),
        ("image", "covariates"),
    )
    save_model(tmp_path / "both", about, state, tmp_path / "g.onnx")
    save_model(tmp_path / "weights", about, state)
    write_pictures(tmp_path, 1)
    answers = []
    for name in ("both", "weights"):
        predictor = load_model(tmp_path / name, device="cpu", threads=1).predictor
        answers.append(predictor.logits(predictor.read(sample(tmp_path, 0))))
        assert not predictor.torch_network().training
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-4, atol=1e-5)
    assert open_model(tmp_path / "both").graph is not None


def test_the_published_layout_predicts_in_published_mode(tmp_path: Path) -> None:
    """A .pt of 322 tensors: binary images, sigmoid of logit 1, thresholds 0.25 and 0.75."""
    import torch

    from encephalon.explanation.gradcam import grad_cam
    from encephalon.networks.image_classifier import to_published_names
    from encephalon.networks.registry import build_network
    from encephalon.recipes.loading import load_recipe
    from encephalon.studies.micrographs.settings import network_options

    recipe = load_recipe("micrographs-published")
    torch.manual_seed(1)
    network = build_network(recipe.network.name, network_options(recipe)).eval()
    torch.save(to_published_names(network.state_dict()), tmp_path / "own.pt")
    plane = np.random.default_rng(0).integers(0, 255, (2048, 2048), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "S0.tif", plane)
    table = write_rows(
        tmp_path / "t.csv", [{"id": "S0", "image": "S0.tif", "sex": "M", "region": "HC"}]
    )
    model = load_model(tmp_path / "own.pt", device="cpu", threads=1, cache=False)
    result = model.predict_batch([table], tmp_path / "out")
    assert not result.failures
    about = model.describe()
    assert (about["score"], about["thresholds"]) == ("sigmoid_logit1", [0.25, 0.75])
    assert model.predictor.layer == "encoder.layer4.2.conv3"
    found = grad_cam(network, (torch.rand(1, 3, 64, 64), torch.zeros(1, 5)), model.predictor.layer)
    assert found.shape == (1, 2, 2)
    loaded = model.predictor.read(sample(tmp_path, 0, sex="M", region="HC"))
    assert loaded.picture.image.shape == (3, 224, 224)
    assert loaded.covariates.tolist() == [[0, 1, 0, 1, 0]]
    with torch.no_grad():
        picture, cells = torch.from_numpy(loaded.picture.image[None]), loaded.covariates
        logits = network(picture, torch.from_numpy(cells))
    likelihood = float(read_rows(tmp_path / "out" / "predictions.csv")[0]["likelihood"])
    assert likelihood == pytest.approx(float(logits[0, 1].sigmoid()), abs=1e-5)
    (tmp_path / "own.pt").unlink()  # 98 MB
