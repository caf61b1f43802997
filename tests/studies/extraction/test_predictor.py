# SPDX-License-Identifier: Apache-2.0
"""The default predictor against balls of known place and size."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from encephalon.geometry.affine import Affine, Grid
from encephalon.geometry.resample import resample
from encephalon.io.image import Image
from encephalon.metrics.segmentation import dice
from encephalon.studies.extraction.predictor import probability
from encephalon.studies.extraction.segmentation.boundary import predict_boundary
from encephalon.studies.extraction.segmentation.localisation import Network
from encephalon.studies.extraction.study import STUDY
from encephalon.tables.samples import Sample
from tests.io.dicom_writer import write_series
from tests.studies.extraction.ball import BallRuntime, ball_image, ball_predictor, ball_volume


def truth(image: Image) -> np.ndarray:
    """The ball itself."""
    return np.asarray(image.data > 50)


def test_the_mask_lies_on_the_scan_s_own_grid_and_is_the_ball() -> None:
    """Shape and place are those of the input; Dice with the truth is nearly 1."""
    image = ball_image()
    prediction = ball_predictor().predict(image)
    mask = prediction.images["mask"]
    assert mask.data.shape == image.shape
    assert mask.data.dtype == np.uint8
    assert mask.like is image
    assert dice(mask.data > 0, truth(image)) > 0.98
    assert prediction.quality is not None
    assert prediction.quality.status == "ok", prediction.quality.reasons


def test_the_volume_is_given_in_millilitres() -> None:
    """A ball of 65 mm has 1150 mL; the study says what each value means."""
    values = ball_predictor().predict(ball_image()).values
    assert values["volume_ml"] == pytest.approx(ball_volume(65.0), rel=0.03)
    assert values.keys() == STUDY.columns.keys()


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((200, 220, 40), (0.9, 0.9, 4.5)),
        ((30, 200, 200), (6.0, 1.0, 1.0)),
        ((40, 45, 40), (4.5, 4.5, 4.5)),
        ((90, 90, 200), (3.0, 3.0, 3.0)),
    ],
)
def test_any_voxel_size_and_field_of_view_is_covered(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    """Thick slices along any axis, coarse voxels and a half-metre field of view all work."""
    image = ball_image(shape, spacing)
    mask = ball_predictor().predict(image).images["mask"].data
    assert dice(mask > 0, truth(image)) > 0.96


def test_all_48_orientations_of_a_scan_give_the_same_mask() -> None:
    """Axis swaps and flips, stored with their affine, change nothing after they are undone."""
    image = ball_image((40, 45, 42), (4.0, 4.0, 4.2), centre=(70.0, 90.0, 80.0), radius=55.0)
    reference = ball_predictor().predict(image).images["mask"].data
    for order in permutations(range(3)):
        for flips in product((1, -1), repeat=3):
            steps = tuple(slice(None, None, f) for f in flips)
            matrix = np.eye(4)
            matrix[:3, :3] = np.eye(3)[:, list(order)] * np.array(flips)
            sizes = np.array(image.shape)[list(order)]
            matrix[list(order), 3] = [
                (n - 1) if f < 0 else 0 for n, f in zip(sizes, flips, strict=True)
            ]
            turned = Image(image.data.transpose(order)[steps], Affine(image.affine.matrix @ matrix))
            mask = ball_predictor().predict(turned).images["mask"].data
            undone = mask[steps].transpose(np.argsort(order))
            assert dice(undone > 0, reference > 0) > 0.995


def test_an_oblique_scan_is_masked_on_its_own_axes() -> None:
    """A turned affine turns nothing in the mask."""
    image = ball_image()
    angle = np.deg2rad(25)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned = Image(image.data, Affine(turn @ image.affine.matrix))
    first = ball_predictor().predict(image).images["mask"].data
    second = ball_predictor().predict(turned).images["mask"].data
    assert dice(first > 0, second > 0) > 0.995


@pytest.mark.parametrize("degrees", [-30.0, 10.0, 20.0])
def test_a_tilted_gantry_changes_neither_volume_nor_place(degrees: float) -> None:
    """The mask lies on the leaning grid; its volume by the determinant is the ball's."""
    straight = ball_image()
    matrix = straight.affine.matrix.copy()
    matrix[1, 2] = 3.0 * np.tan(np.radians(degrees))
    matrix[1, 3] = -0.5 * (straight.shape[2] - 1) * matrix[1, 2]
    leaning = Affine(matrix)
    data = resample(straight.data, straight.affine, Grid(straight.shape, leaning))
    for border in (-4.0, 0.0, 4.0):
        prediction = ball_predictor(border=border).predict(Image(data, leaning))
        mask = prediction.images["mask"]
        assert mask.data.shape == straight.shape
        volume = float(str(prediction.values["volume_ml"]))
        assert volume == pytest.approx(ball_volume(65.0 + border), rel=0.04)
        assert volume == pytest.approx(mask.data.sum() * 0.027, abs=1e-3)
        away = leaning.apply(np.argwhere(mask.data)) - straight.grid.centre
        assert np.linalg.norm(away, axis=1).max() == pytest.approx(65 + border, abs=4)


def test_a_doubt_from_reading_asks_for_a_check() -> None:
    """What the reader was not sure of is among the reasons."""
    doubted = ball_image().doubted("nobody knows how far its slices lie apart")
    quality = ball_predictor().predict(doubted).quality
    assert quality is not None
    assert quality.status == "check"
    assert quality.reasons == ("nobody knows how far its slices lie apart",)


def test_a_border_of_three_millimetres_adds_a_shell_of_three_millimetres() -> None:
    """The volume follows the radius, outwards and inwards."""
    for border in (-3.0, 3.0):
        volume = ball_predictor(border=border).predict(ball_image()).values["volume_ml"]
        assert volume == pytest.approx(ball_volume(65.0 + border), rel=0.04)


def test_a_ball_without_fluid_loses_hardly_any_of_itself() -> None:
    """Without fluid the mask is at most what it was, and never less than the inner border's."""
    with_fluid = ball_predictor().predict(ball_image()).values["volume_ml"]
    without = ball_predictor(csf=False).predict(ball_image()).values["volume_ml"]
    assert 0.85 * with_fluid < without < with_fluid  # type: ignore[operator]


def test_distance_probability_and_brain_agree_with_the_mask() -> None:
    """Inside is where the distance is positive and the probability above a half."""
    image = ball_image()
    save = ("mask", "brain", "distance", "probability")
    images = ball_predictor(save=save).predict(image).images
    mask = images["mask"].data > 0
    assert dice(images["distance"].data > 0, mask) > 0.995
    assert dice(images["probability"].data > 0.5, mask) > 0.995
    assert np.array_equal(images["brain"].data != 0, mask & (image.data != 0))
    assert images["distance"].data.dtype == np.float32


def test_the_distance_is_in_millimetres() -> None:
    """Walking a centimetre inwards from the border raises it by about ten."""
    image = ball_image()
    images = ball_predictor(save=("distance",)).predict(image).images
    assert (images["distance"].written, images["mask"].written) == (True, False)  # but it is shown
    assert not images["mask"].may_be_empty
    distance = images["distance"].data
    line = distance[:, 35, 32]
    middle = len(line) // 2
    border = int(np.flatnonzero(line[:middle] > 0)[0])
    assert line[border + 3] - line[border - 1] == pytest.approx(12.0, abs=2.5)


def test_a_scan_without_a_brain_gives_an_empty_mask_that_fails() -> None:
    """Noise has nothing brighter than its surroundings for a whole organ's size."""

    class Blind(BallRuntime):
        def run(self, array: np.ndarray) -> list[np.ndarray]:
            return [np.full((len(array), 2, *array.shape[2:]), -6, np.float32)]

    predictor = ball_predictor()
    object.__setattr__(predictor, "runtime", Blind())
    prediction = predictor.predict(ball_image())
    assert not prediction.images["mask"].data.any()
    assert prediction.images["mask"].is_empty_mask
    assert prediction.quality is not None
    assert prediction.quality.status == "fail"


def test_a_brain_cut_by_the_field_of_view_is_to_be_checked() -> None:
    """The reason names the field of view."""
    image = ball_image((60, 70, 40), (3.0, 3.0, 3.0), centre=(90.0, 105.0, 20.0))
    quality = ball_predictor().predict(image).quality
    assert quality is not None
    assert quality.status == "check"
    assert any("field of view" in reason for reason in quality.reasons)


def test_the_evidence_is_gathered_on_the_fine_grid() -> None:
    """A ball is the same mirrored and turned, and its distance has slope 1."""
    predictor = ball_predictor()
    network = predictor.network
    borders = predict_boundary(ball_image(), predictor.settings, network, network)
    assert borders.view.grid.shape == predictor.settings.grids.fine
    assert borders.mirror > 0.99
    assert borders.turn > 0.95
    assert borders.slope_error < 0.2


def test_a_probability_of_one_half_lies_on_the_border() -> None:
    """One spread further in the odds are e to 1."""
    chance = probability(np.array([0.0, 0.5], np.float32), 0.5)
    assert chance[0] == pytest.approx(0.5)
    assert chance[1] / (1 - chance[1]) == pytest.approx(np.e, rel=1e-5)


def test_the_series_that_was_asked_for_is_read_and_told(tmp_path: Path) -> None:
    """Of two repetitions in one DICOM folder the second; a number may come as a number."""
    first = np.arange(20 * 21 * 8, dtype=np.uint16).reshape(20, 21, 8)
    write_series(tmp_path / "s", first, name="a{}")
    write_series(tmp_path / "s", first[::-1], name="b{}", first=50)
    predictor = ball_predictor(series=":2")
    image = predictor.read(Sample("s", {"image": tmp_path / "s"}))
    assert np.array_equal(image.data, first[::-1])
    assert predictor.describe()["series"] == ":2"
    assert ball_predictor(series=5).options.series == "5"
    assert "series" not in ball_predictor().describe()


def test_fast_predicts_once_and_tells_no_agreement() -> None:
    """The mask of a ball is the same; what a second and a third look would say is not made up."""
    predictor, looks = ball_predictor(), dict.fromkeys((False, True), 0)
    see = predictor.network
    for fast in looks:

        def network(image: np.ndarray, fast: bool = fast) -> np.ndarray:
            looks[fast] += 1
            return see(image)

        borders = predict_boundary(
            ball_image(), predictor.settings, Network(network), Network(network), fast=fast
        )
        assert (borders.mirror is None, borders.turn is None) == (fast, fast)
    assert looks[False] - looks[True] == 2
    prediction = ball_predictor(fast=True).predict(ball_image())
    assert "agreement_turn" not in prediction.values
    assert prediction.quality is not None
    assert prediction.quality.status == "ok"
