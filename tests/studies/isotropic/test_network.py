# SPDX-License-Identifier: Apache-2.0
"""The network as a method: tiles, units, agreement with the slices, and a predictor around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encephalon.errors import InputError
from encephalon.geometry.affine import Affine, Grid
from encephalon.io.image import Image
from encephalon.io.reading import read_image, write_image
from encephalon.metrics.image_quality import nrmse
from encephalon.studies.isotropic.predictor import IsotropicPredictor
from encephalon.studies.isotropic.reconstruction.guided import guided
from encephalon.studies.isotropic.reconstruction.network import (
    HALO,
    TILE,
    NetworkMethod,
    expected_deviation,
    tile_sizes,
)
from encephalon.studies.isotropic.reconstruction.problem import Problem, Stack, enforce_consistency
from encephalon.studies.isotropic.settings import IsotropicSettings, PredictOptions
from encephalon.tables.samples import Sample
from encephalon.transforms.slices import SliceOperator, SliceProfile
from tests.studies.isotropic.thick_head import problem, truth


@dataclass
class FixedNetwork:
    """A network that returns what it starts from, and says that it is off by 5 %."""

    name: str = "standing in"
    device: str = "cpu"
    tiles: int = 0

    def run(self, given: Any) -> list[np.ndarray]:
        """Answer one batch of features."""
        self.tiles += len(given)
        spread = np.full_like(given[:, 0], np.log(0.05))
        return [np.stack([given[:, 0] + given[:, 1], spread], axis=1)]


def test_the_result_sliced_again_is_the_input() -> None:
    """NRMSE below 1 %, whatever the network says, in the units of the input."""
    given = problem()
    image = NetworkMethod(FixedNetwork())(given).image
    assert nrmse(given.stack.slices, given.stack.operator.slice(image)) < 0.01
    assert image.max() > 500


@pytest.mark.parametrize("with_t1w", [False, True])
def test_the_deviation_is_in_units_of_the_input(with_t1w: bool) -> None:
    """A Laplace error of 5 % of the range scatters by √2 times that; it has half a say."""
    given = problem(guided=with_t1w)
    above = given.stack.slices[given.stack.slices > 0]
    low, high = np.percentile(above, [1, 99])
    scales = (2.0, 9.0) if with_t1w else (9.0, 2.0)
    deviation = NetworkMethod(FixedNetwork(), 1.0, *scales)(given).deviation
    assert deviation is not None
    of_guided = guided(given).deviation
    assert of_guided is not None
    there = of_guided > 0
    told = np.square(deviation[there] / 2) / of_guided[there]
    np.testing.assert_allclose(told, 2**0.5 * 0.05 * (high - low), rtol=2e-3)


def test_without_errors_of_the_guided_method_the_network_is_believed() -> None:
    """Both as they are told where they agree, and the network alone where there is no other."""
    spread = np.log(np.full((2, 2, 2), 0.05 / 2**0.5, np.float32))
    for nothing in (0.0, -1.0):
        told = expected_deviation(spread, np.full_like(spread, nothing))
        np.testing.assert_allclose(told, 0.05, rtol=1e-6)
    of_guided = np.full_like(spread, 0.05)
    np.testing.assert_allclose(expected_deviation(spread, of_guided), 0.05, rtol=1e-6)
    np.testing.assert_allclose(expected_deviation(spread, 4 * of_guided), 0.10, rtol=1e-6)


def test_a_network_without_trust_changes_nothing() -> None:
    """The result is then that of the guided method."""

    class Wild(FixedNetwork):
        def run(self, given: Any) -> list[np.ndarray]:
            return [answer + 0.3 for answer in super().run(given)]

    given = problem()
    image = NetworkMethod(Wild(), trust=0.0)(given).image
    np.testing.assert_allclose(image, guided(given).image, atol=0.5)


def test_tiles_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network without a reach answers the same in one tile and in many."""
    whole = NetworkMethod(FixedNetwork())(problem()).image
    monkeypatch.setattr("encephalon.studies.isotropic.reconstruction.network.TILE", 32)
    network = FixedNetwork()
    tiled = NetworkMethod(network)(problem()).image
    assert network.tiles > 1
    np.testing.assert_allclose(tiled, whole, atol=1e-3)


def test_a_slab_thinner_than_a_halo_is_answered() -> None:
    """Two slices make an axis of eight voxels, which needs no tiles."""
    given = problem()
    stack = given.stack
    operator = SliceOperator.of(SliceProfile("box"), 4, (1.5, 5.5), 8, 1.0)
    grid = Grid((*stack.grid.shape[:2], 8), stack.grid.affine)
    slab = Problem((Stack(stack.slices[..., 3:5], grid, operator),), 2)
    image = NetworkMethod(FixedNetwork())(slab).image
    assert image.shape == grid.shape
    assert nrmse(slab.stack.slices, operator.slice(image)) < 0.01


@pytest.mark.parametrize("size", [40, TILE, TILE + 1, 182, 218, 512])
def test_tiles_are_no_larger_than_allowed_and_cover_the_volume(size: int) -> None:
    """The fewest equal tiles, with their halo, in multiples of the network's stride."""
    (edge,) = tile_sizes((size,), 8)
    tiles = 1 if size <= TILE else -(-size // (TILE - 2 * HALO))
    assert edge % 8 == 0
    assert edge <= TILE + 8
    assert tiles * (edge - (2 * HALO if tiles > 1 else 0)) >= size


def test_nothing_becomes_darker_than_the_scan() -> None:
    """Ringing below 0 is cut off where the scan has nothing below 0."""
    given = problem()
    rough = truth() - 300
    image = enforce_consistency(rough, given.stack.slices, given.stack.operator)
    assert image.min() >= 0
    negative = given.stack.slices - 100
    assert enforce_consistency(rough, negative, given.stack.operator).min() < 0


def test_a_speck_in_the_dark_lights_up_no_gap() -> None:
    """What a dark slice has too much or too little says nothing of voxels that no slice sees."""
    given = problem(ratio=3, thickness=1)
    operator = given.stack.operator
    slices = given.stack.slices.copy()
    slices[slices == 0] = np.random.default_rng(0).uniform(0, 1e-4, np.count_nonzero(slices == 0))
    image = enforce_consistency(operator.interpolate(slices), slices, operator)
    assert image.max() < 1.2 * slices.max()


def _predictor(**options: Any) -> IsotropicPredictor:
    asked = PredictOptions(registration="none", **options)
    return IsotropicPredictor({"name": "standing"}, FixedNetwork(), asked, IsotropicSettings())


def _thick(folder: Path) -> tuple[Path, np.ndarray]:
    """Sagittal slices 4 mm apart of 1 mm voxels, stored with axes turned and flipped."""
    given = problem(guided=False)
    data = given.stack.slices.transpose(2, 0, 1)[:, ::-1]
    place = Affine.from_parts([[0, 0, 1], [0, -1, 0], [1, 0, 0]], (4, 1, 1), (5, 6, 7))
    write_image(data, folder / "T2w.nii.gz", Image(data, place))
    return folder / "T2w.nii.gz", data


def test_the_result_lies_in_the_frame_of_the_scan(tmp_path: Path) -> None:
    """Same axes, same in-plane voxels and the same outer faces; the affine exact to 1e-4."""
    path, data = _thick(tmp_path)
    predictor = _predictor()
    prediction = predictor.predict(predictor.read(Sample("a", {"t2w": path})))
    result = prediction.images["t2w"]
    assert result.data.shape == (4 * data.shape[0], *data.shape[1:])
    scan = read_image(path)
    assert result.like is not None
    assert result.like.affine.spacing == pytest.approx((1, 1, 1))
    # The first slice's four voxels share its middle.
    middle = result.like.affine.apply(np.array([1.5, 0, 0]))
    np.testing.assert_allclose(middle, scan.affine.apply(np.zeros(3)), atol=1e-4)
    assert prediction.quality is not None
    assert prediction.values["inconsistency"] < 0.01


def test_only_the_images_that_were_asked_for_are_made(tmp_path: Path) -> None:
    """`--save` chooses; the T1w is there only when one was given."""
    path, _ = _thick(tmp_path)
    predictor = _predictor(save="t2w")
    assert list(predictor.outputs) == ["t2w"]
    prediction = predictor.predict(predictor.read(Sample("a", {"t2w": path})))
    assert list(prediction.images) == ["t2w"]


@pytest.mark.parametrize("kind", ["t1w", "transform"])
def test_a_result_without_any_image_is_none(tmp_path: Path, kind: str) -> None:
    """The T1w or its transform alone was asked for, and there is no T1w."""
    path, _ = _thick(tmp_path)
    predictor = _predictor(save=kind)
    with pytest.raises(InputError, match="nothing but the T1w or its transform was to be"):
        predictor.predict(predictor.read(Sample("a", {"t2w": path})))


def test_the_result_does_not_depend_on_how_the_voxels_are_stored(tmp_path: Path) -> None:
    """Axes swapped and flipped with their affine: within 0.1 dB of the truth."""
    path, _ = _thick(tmp_path)
    scan = read_image(path)
    turned = scan.affine.matrix[:, [2, 0, 1, 3]].copy()
    turned[:3, 3] = scan.affine.apply(np.array([0, 0, scan.shape[2] - 1]))
    turned[:3, 0] *= -1
    data = scan.data.transpose(2, 0, 1)[::-1]
    predictor = _predictor()
    results = [
        predictor.predict(predictor.read(Sample("a", {"t2w": image}))).images["t2w"].data
        for image in (scan, Image(data, Affine(turned)))
    ]
    wanted = truth().transpose(2, 0, 1)[:, ::-1]
    errors = [
        np.mean((image - wanted) ** 2)
        for image in (results[0], results[1][::-1].transpose(1, 2, 0))
    ]
    assert 10 * np.log10(errors[0] / errors[1]) == pytest.approx(0, abs=0.1)
