# SPDX-License-Identifier: Apache-2.0
"""Tiles: image and mask move alike, what was drawn is all that matters, and ranges are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from encephalon.errors import RecipeError
from encephalon.recipes.schema import Section
from encephalon.recipes.validation import make_settings
from encephalon.transforms.tiles import (
    AnyOperation,
    CutMix,
    Drawn,
    Erase,
    Flip,
    LocalCutMix,
    MixUp,
    Normalise,
    Operation,
    RandomCrop,
    Rotate,
    Sharpen,
    SliceCrop,
    Solarise,
    Tile,
    Zoom,
    apply,
    draw,
)

NAMES = (
    *("zoom", "rotate", "flip", "random-crop", "slice-crop", "local-cut-mix", "mix-up", "cut-mix"),
    *("solarise", "sharpen", "erase", "erase-to-mean", "normalise"),
)
MOVING: tuple[Operation, ...] = (
    Zoom(probability=1),
    Rotate(probability=1, size=(20, 22)),
    *(Flip(probability=1, axis=axis) for axis in ("columns", "rows", "slices")),  # type: ignore[arg-type]
    RandomCrop(size=(16, 24)),
    SliceCrop(depth=3),
    LocalCutMix(probability=1, size=(24, 24)),
    CutMix(probability=1, size=(9, 12)),
)


def tiles(count: int = 3, depth: int = 5) -> list[Tile]:
    """Images whose levels are the labels of their masks, in blocks of 4 x 4 pixels."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        blocks = rng.integers(0, 4, (depth, 8, 10))
        mask = blocks.repeat(4, axis=1).repeat(4, axis=2)
        image = np.stack([mask, 3 - mask]).astype(np.float32)
        made.append(Tile(image, mask, np.eye(count, dtype=np.float32)[number]))
    return made


def varied(given: list[Tile], *operations: Operation, seed: int = 1) -> list[Tile]:
    record = draw(np.random.default_rng(seed), operations, len(given))
    return apply(given, operations, record)


def test_every_operation_is_selected_by_its_name_in_a_recipe() -> None:
    """With its probability; the defaults of all of them keep a batch finite and of one size."""
    listed = [{"name": name, "probability": 1.0} for name in NAMES]
    operations = TypeAdapter(tuple[AnyOperation, ...]).validate_python(listed)
    assert [one.name for one in operations] == list(NAMES)
    made = varied(tiles(), *operations)
    assert {one.image.shape for one in made} == {(2, 5, 32, 40)}
    assert all(np.isfinite(one.image).all() and one.image.dtype == np.float32 for one in made)


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"name": "zom"}, "'zom' found using 'name' does not match any of the expected tags"),
        ({"name": "zoom", "scal": [1, 2]}, "unknown key 'scal'"),
        ({"name": "zoom", "probability": 2}, "less than or equal to 1"),
        ({"name": "erase", "area": 0}, "greater than 0"),
    ],
)
def test_a_slip_in_an_operation_is_refused(operation: dict[str, Any], words: str) -> None:
    """In one sentence, as the settings of any study are."""

    class Settings(Section):
        augmentation: tuple[AnyOperation, ...] = ()

    with pytest.raises(RecipeError, match=words):
        make_settings(Settings, {"augmentation": [operation]}, "mine.toml")


@pytest.mark.parametrize("depth", [1, 5])
@pytest.mark.parametrize("operation", MOVING, ids=lambda one: type(one).__name__)
def test_mask_and_image_move_alike(operation: Operation, depth: int) -> None:
    """Levels were the labels: away from blended borders they still are, and labels stay labels."""
    for seed in range(3):
        for one in varied(tiles(depth=depth), operation, seed=seed):
            assert one.mask is not None
            assert one.mask.shape == one.image.shape[1:]
            assert set(np.unique(one.mask)) <= {0, 1, 2, 3}
            off = np.abs(one.image[0] - one.mask)
            assert (off < 1e-5).mean() > 0.4
            assert off.mean() < 0.35
            np.testing.assert_allclose(one.image.sum(axis=0), 3, rtol=1e-5)


def test_what_was_drawn_is_all_that_matters() -> None:
    """The same record gives the same bytes, and leaves what it was given alone."""
    given = tiles()
    before = [one.image.copy() for one in given]
    operations = (*MOVING, MixUp(), Solarise(), Sharpen(), Erase(), Normalise())
    record = draw(np.random.default_rng(3), operations, 3)
    first, second = (apply(given, operations, record) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.image.tobytes() == other.image.tobytes()
        assert one.mask is not None
        assert one.mask.tobytes() == other.mask.tobytes()  # type: ignore[union-attr]
    assert all(np.array_equal(one.image, was) for one, was in zip(given, before, strict=True))


def test_a_probability_of_0_changes_nothing_and_draws_as_much() -> None:
    """What is drawn after an operation does not depend on whether it happened."""
    never, always = (Zoom(probability=p) for p in (0, 1))
    given = tiles()
    assert varied(given, never)[0].image.tobytes() == given[0].image.tobytes()
    records = [draw(np.random.default_rng(4), (one, Erase()), 3)[1] for one in (never, always)]
    np.testing.assert_array_equal(records[0].at, records[1].at)


def test_probabilities_are_those_of_each_sample() -> None:
    """0.3 of 4,000 draws, within four standard deviations."""
    kept = draw(np.random.default_rng(0), (Flip(probability=0.3),), 4000)[0].kept
    assert kept.mean() == pytest.approx(0.3, abs=0.03)


def test_crops_differ_between_samples_or_are_one_for_the_batch() -> None:
    """Published training drew one place for a batch."""
    for per, places in (("sample", 8), ("batch", 1)):
        crop = RandomCrop(size=(8, 8), per=per)  # type: ignore[arg-type]
        record = draw(np.random.default_rng(0), (crop,), 8)
        assert len({tuple(at) for at in record[0].at}) == places


def test_a_crop_reaches_every_place() -> None:
    """All starts of 4 in 6 rows are drawn, and none beyond."""
    rows = np.arange(6, dtype=np.float32).repeat(6).reshape(1, 1, 6, 6)
    starts = {
        varied([Tile(rows)], RandomCrop(size=(4, 4)), seed=s)[0].image[0, 0, 0, 0]
        for s in range(60)
    }
    assert starts == {0, 1, 2}


def only(operation: Operation, image: NDArray[Any], *at: float) -> NDArray[Any]:
    """The image varied by what was drawn by hand."""
    drawn = np.array([[*at, *[0.5] * (8 - len(at))]])
    record = [Drawn(np.array([True]), np.array([0]), drawn)]
    return apply([Tile(image)], (operation,), record)[0].image


def test_a_quarter_turn_is_exact() -> None:
    """And that of the middle alone is the middle of it."""
    image = np.random.default_rng(0).random((1, 2, 9, 9)).astype(np.float32)
    turned = only(Rotate(degrees=90), image, 1.0)
    np.testing.assert_allclose(turned, np.rot90(image, -1, axes=(2, 3)), atol=1e-5)
    middle = only(Rotate(degrees=90, size=(5, 5)), image, 1.0)
    np.testing.assert_allclose(middle, turned[:, :, 2:7, 2:7], atol=1e-5)


def test_a_zoom_by_two_shows_the_middle() -> None:
    """Every other pixel of it is one of the picture's own where the grids meet."""
    ramp = np.arange(9, dtype=np.float32)[None, None, None].repeat(9, axis=2)
    np.testing.assert_allclose(only(Zoom(), ramp, 1.0)[0, 0, 4], 4 + (np.arange(9) - 4) / 2)


def test_mixing_mixes_classes_as_it_does_pixels() -> None:
    """A share of the image is that share of the target; CutMix's share is that of its window."""
    black, white = (np.full((1, 1, 8, 8), level, np.float32) for level in (0, 1))
    zeros, ones = np.zeros((1, 8, 8), np.int64), np.ones((1, 8, 8), np.int64)
    given = [
        Tile(black, zeros, np.array([1, 0], np.float32)),
        Tile(white, ones, np.array([0, 1], np.float32)),
    ]
    kept, others = np.array([True, False]), np.array([1, 0])
    for operation, share in ((MixUp(), 0.4), (CutMix(size=(4, 4)), 0.25)):
        at = np.full((2, 8), 0.8)
        made = apply(given, (operation,), [Drawn(kept, others, at)])[0]
        assert made.image.mean() == pytest.approx(share)
        assert made.shares == pytest.approx([1 - share, share])
        assert made.mask is not None
        assert made.mask.mean() == (share if operation.name == "cut-mix" else 0)


def test_a_local_exchange_loses_nothing() -> None:
    """The same pixels are there, in other places, of image and mask."""
    given = tiles()[0]
    for seed in range(5):
        made = varied([given], LocalCutMix(probability=1, size=(24, 24)), seed=seed)[0]
        assert sorted(made.image.ravel()) == sorted(given.image.ravel())
        assert not np.array_equal(made.image, given.image)


def test_an_erased_rectangle_has_the_wished_area_and_level() -> None:
    """A tenth of each slice, 0 or the channel's mean."""
    image = np.random.default_rng(0).random((2, 3, 50, 40)).astype(np.float32) + 1
    for seed in range(5):
        gone = varied([Tile(image)], Erase(probability=1), seed=seed)[0].image == 0
        assert gone.mean() == pytest.approx(0.1, abs=0.01)
    filled = varied([Tile(image)], Erase(name="erase-to-mean", probability=1))[0].image
    for channel in range(2):
        level = np.float32(image[channel].mean())
        assert np.isclose(filled[channel], level, atol=1e-6).mean() == pytest.approx(0.1, abs=0.01)


def test_levels_by_hand() -> None:
    """Solarise inverts what is bright, sharpen leaves what is even, normalise is linear."""
    image = np.array([0.2, 0.5, 0.9], np.float32).reshape(1, 1, 1, 3)
    solarised = only(Solarise(), image, 0.5, 0.5)
    np.testing.assert_allclose(solarised.ravel(), [0.2, 0.5, 0.1], atol=1e-6)
    even = np.full((1, 1, 5, 5), 0.3, np.float32)
    np.testing.assert_allclose(only(Sharpen(), even, 1.0), even, atol=1e-6)
    edge = (np.arange(6) > 2).astype(np.float32).reshape(1, 1, 1, 6) * 0.5 + 0.25
    sharper = only(Sharpen(), edge.repeat(6, axis=2), 1.0)[0, 0, 3]
    assert sharper[2] < 0.25
    assert sharper[3] > 0.75
    normalised = only(Normalise(), image)
    np.testing.assert_allclose(normalised, (image - 0.4894) / 0.1238, rtol=1e-5)
