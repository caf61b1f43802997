# SPDX-License-Identifier: Apache-2.0
"""What the network sees of a micrograph in both modes, and where it lies in the raw."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.exposure import equalize_hist
from skimage.filters import threshold_li
from skimage.transform import rescale
from torch.nn.functional import interpolate

from encephalon.errors import ContentError, MissingFileError, UnreadableFileError
from encephalon.io.cache import ArrayCache
from encephalon.io.micrograph import Micrograph
from encephalon.studies.micrographs.preprocessing import FACTS, Picture, Preprocessing
from encephalon.studies.micrographs.published.preprocessing import foreground, network_input
from encephalon.studies.micrographs.settings import MicrographSettings

SETTINGS = MicrographSettings(size=96)


def tissue(rows: int, columns: int, seed: int = 0) -> NDArray[np.uint8]:
    """Grey blobs with noise, 8 bits."""
    rng = np.random.default_rng(seed)
    blobs = gaussian_filter(rng.normal(size=(rows, columns)), 3)
    noisy = 120 + 40 * blobs / blobs.std() + rng.normal(0, 8, blobs.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def micrograph(data: NDArray[Any], pixel_size: tuple[float, float] | None = None) -> Micrograph:
    return Micrograph(data, pixel_size, Path("S1V1.tif"))


def by_default(data: NDArray[Any], **settings: Any) -> Picture:
    return Preprocessing(MicrographSettings(**{"size": 96} | settings))(micrograph(data))


def as_published(data: NDArray[Any]) -> Picture:
    return Preprocessing(SETTINGS, "published")(micrograph(data))


# As published by 3BTRON.


def published(levels: NDArray[Any]) -> NDArray[np.float32]:
    """Steps 2 to 4 with scikit-image, one by one."""
    equalised = equalize_hist(levels * (1.0 / np.iinfo(levels.dtype).max)).astype(np.float32)
    white = (equalised > threshold_li(equalised)).astype(float)
    return np.asarray(rescale(white, 0.125, order=1, mode="reflect", anti_aliasing=True))


@pytest.mark.parametrize("shape", [(256, 256), (203, 333), (100, 64), (37, 29)])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_foreground_equals_scikit_images(shape: tuple[int, int], bits: int) -> None:
    """Equalising, binarising and rescaling agree within 1e-6, sizes with a remainder too."""
    data = tissue(*shape)
    levels = data if bits == 8 else data.astype(np.uint16) * 16 + tissue(*shape, seed=1) // 16
    expected = published(levels)
    made = foreground(levels)
    assert made.shape == expected.shape
    assert made.dtype == np.float32
    assert np.abs(made - expected).max() < 1e-6
    assert 0 <= made.min() < made.max() <= 1


@pytest.mark.parametrize("shape", [(256, 256), (32, 32), (25, 42), (300, 90)])
def test_network_inputs_equal_the_published_evaluation_transform(shape: tuple[int, int]) -> None:
    """Shorter side to 256, the middle 224, ImageNet's mean and deviation, in three channels."""
    plane = np.random.default_rng(0).random(shape, dtype=np.float32)
    height, width = shape
    size = (int(256 * height / min(shape)), int(256 * width / min(shape)))
    tensor = torch.from_numpy(plane.astype(np.float64))[None, None]
    resized = interpolate(tensor, size, mode="bilinear", antialias=True)[0, 0].numpy()
    top, left = (round((side - 224) / 2) for side in size)
    middle = resized[top : top + 224, left : left + 224]
    image, _ = network_input(plane)
    assert image.shape == (3, 224, 224)
    assert image.dtype == np.float32
    colours = zip(image, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    for channel, mean, deviation in colours:
        assert np.abs(channel * deviation + mean - middle).max() < 1e-6


def test_a_raw_frame_of_2048_pixels_is_not_resized_twice() -> None:
    """An eighth of 2048 is 256, of which the middle 224 are seen: raw pixels 128 to 1920."""
    data = np.tile(tissue(256, 256), (8, 8))
    plane = foreground(data)
    assert plane.shape == (256, 256)
    picture = as_published(data)
    assert picture.image[0] * 0.229 + 0.485 == pytest.approx(plane[16:240, 16:240], abs=1e-6)
    assert picture.view.seen == (128, 1920, 128, 1920)
    assert picture.view.scale == (8, 8)
    assert picture.view.offset == (131.5, 131.5)


def test_the_foreground_hardly_depends_on_gamma() -> None:
    """A gamma of 0.5 moves the published picture by about 0.0015 on average, or less."""
    data = tissue(400, 400)
    other = np.rint(255 * (data / 255) ** 0.5).astype(np.uint8)
    assert np.abs(foreground(data) - foreground(other)).mean() < 0.01


def test_sixteen_bits_are_scaled_and_clipped_only_on_request() -> None:
    """Clipping is the published defect: here it leaves one level, and says so."""
    deep = tissue(200, 200).astype(np.uint16) * 100 + 300
    expected = as_published(tissue(200, 200)).image
    assert np.abs(as_published(deep).image - expected).mean() < 0.05
    clipping = Preprocessing(SETTINGS.model_copy(update={"clip_16_bit": True}), "published")
    with pytest.raises(ContentError, match="every pixel is 255"):
        clipping(micrograph(deep))
    low = deep // 100
    clipped = clipping(micrograph(low)).image
    assert np.array_equal(clipped, as_published(np.clip(low, 0, 255).astype(np.uint8)).image)
    assert clipping.key != Preprocessing(SETTINGS, "published").key


def test_floats_fill_sixteen_bits() -> None:
    """Neither the unit nor the offset of float levels changes the foreground."""
    data = tissue(128, 160)
    floats = data.astype(np.float32) / 1000 - 3
    spread = ((data - float(data.min())) / np.ptp(data) * 65535).round().astype(np.uint16)
    assert np.array_equal(as_published(floats).image, as_published(spread).image)


@pytest.mark.data
def test_real_micrographs_are_white_by_three_fifths(data: Path) -> None:
    """Equalised and binarised, 0.54 to 0.62 of natural pictures is white."""
    paths = sorted(data.glob("em/axon-sem/sub-*/micr/*.png"))
    assert len(paths) == 6
    for path in paths:
        plane = foreground(np.asarray(Image.open(path)))
        assert 0.54 < plane.mean() < 0.62, path


# Default mode.


def test_sound_pictures_are_square_and_around_zero() -> None:
    """The whole image lies in the square, its percentiles at -2 and 2."""
    picture = by_default(tissue(200, 300))
    assert picture.image.shape == (1, 96, 96)
    assert picture.image.dtype == np.float32
    assert -2 <= picture.image.min() < -1
    assert 1 < picture.image.max() <= 2
    assert picture.view.seen == (0, 200, 0, 300)


def test_area_is_averaged_within_the_percentiles() -> None:
    """Blocks of 4 x 4 raw pixels, cut at the percentiles first, give one pixel each."""
    data = tissue(384, 384)
    low, high = np.percentile(data, (0.5, 99.5))
    blocks = np.clip(data, low, high).reshape(96, 4, 96, 4).mean(axis=(1, 3))
    expected = ((blocks - low) / (high - low) - 0.5) / 0.25
    assert np.abs(by_default(data).image[0] - expected).max() < 1e-5


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_units_of_grey_levels_do_not_matter(kind: type) -> None:
    """16 bits and floats give what 8 bits give."""
    data = tissue(150, 130)
    assert (
        np.abs(by_default(data.astype(kind) * kind(37)).image - by_default(data).image).max() < 1e-3
    )


def test_padding_is_the_median_and_lies_outside_the_view() -> None:
    """A wide image has bands above and below it, whose maps lead nowhere."""
    picture = by_default(tissue(100, 400))
    image, view = picture.image[0], picture.view
    assert np.ptp(image[:36]) == 0
    assert np.ptp(image[-36:]) == 0
    assert image[0, 0] == pytest.approx(np.median(image[36:60]))
    planted = np.zeros((96, 96))
    planted[:36] = 1
    raw = view.to_raw(planted)
    assert raw.shape == (100, 400)
    assert np.isfinite(raw).all()
    assert raw[8:].max() == 0


def test_texture_survives_that_binary_images_lose() -> None:
    """Two textures with one foreground are equal as published and different here."""
    rng = np.random.default_rng(0)
    bright = gaussian_filter(rng.normal(size=(384, 384)), 12) > -0.0045
    dark = rng.integers(20, 70, bright.shape)
    smooth = np.where(bright, rng.integers(150, 151 + 90, bright.shape), dark)
    stripes = np.sin(np.arange(384) / 3)[None] * 45 + 195
    striped = np.where(bright, np.rint(stripes), dark)
    first, second = smooth.astype(np.uint8), striped.astype(np.uint8)
    share = float(bright.mean())
    assert 0.55 < share < 0.65
    assert np.array_equal(as_published(first).image, as_published(second).image)
    difference = by_default(first, size=192).image - by_default(second, size=192).image
    assert np.abs(difference).mean() > 0.2


def test_a_data_bar_is_cut_off_and_not_seen() -> None:
    """What the network sees, and every fact, is that of the image without the strip."""
    data = tissue(300, 300)
    bar = np.zeros((30, 300), np.uint8)
    bar[10:20, 40:200:5] = 255
    whole = np.vstack([data, bar])
    found, plain = by_default(whole), by_default(data)
    assert found.view.seen == (0, 300, 0, 300)
    assert found.view.raw_shape == (330, 300)
    assert np.array_equal(found.image, plain.image)
    assert found.facts == pytest.approx(plain.facts, nan_ok=True)
    told = by_default(whole, data_bar={"rows": 50})
    assert told.view.seen[:2] == (0, 280)
    kept = by_default(whole, data_bar={"mode": "keep"})
    assert kept.view.seen[:2] == (0, 330)
    with pytest.raises(ContentError, match=r"S1V1.tif: data_bar.rows is 330"):
        by_default(whole, data_bar={"rows": 330})


def test_a_known_pixel_size_is_brought_to_the_same() -> None:
    """At 10 nm, images of 5 and of 20 nm are shrunk and enlarged about their middle."""
    settings = MicrographSettings(size=96, pixel_size_nm=10)
    make = Preprocessing(settings)
    fine = make(micrograph(tissue(400, 400), (5.0, 5.0)))
    assert fine.view.scale == (2, 2)
    assert fine.view.seen == (104, 296, 104, 296)
    coarse = make(micrograph(tissue(40, 30), (20.0, 20.0)))
    assert coarse.view.scale == (0.5, 0.5)
    assert coarse.view.seen == (0, 40, 0, 30)
    assert np.ptp(coarse.image[0, :, :17]) == 0
    unknown = make(micrograph(tissue(400, 400)))
    assert unknown.view.seen == (0, 400, 0, 400)
    assert math.isnan(unknown.facts["pixel_size_nm"])


def test_pixels_that_are_not_square_are_made_so() -> None:
    """Rows twice as far apart as columns take twice the room."""
    picture = Preprocessing(SETTINGS)(micrograph(tissue(96, 192), (20.0, 10.0)))
    assert picture.view.scale == (1, 2)
    assert picture.view.seen == (0, 96, 0, 192)
    assert picture.facts["pixel_size_nm"] == pytest.approx(math.sqrt(200))


@pytest.mark.parametrize("pixel", [1e-3, 1e5])
def test_an_impossible_pixel_size_is_refused(pixel: float) -> None:
    """A unit mistaken by a factor of a thousand would show one pixel, or a speck."""
    make = Preprocessing(MicrographSettings(size=96, pixel_size_nm=10))
    with pytest.raises(ContentError, match="check the pixel size"):
        make(micrograph(tissue(100, 100), (pixel, pixel)))


@pytest.mark.parametrize("mode", ["default", "published"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_constant_image_is_refused(mode: Any, kind: type) -> None:
    """Where the published chain gave zeros in silence, one sentence says why."""
    constant = np.full((40, 50), 7, kind)
    with pytest.raises(ContentError, match=r"S1V1.tif: every pixel is 7"):
        Preprocessing(SETTINGS, mode)(micrograph(constant))


@pytest.mark.parametrize("mode", ["default", "published"])
def test_pixels_that_are_no_numbers_are_refused(mode: Any) -> None:
    """One NaN would spread over the whole picture."""
    data = tissue(40, 50).astype(np.float32)
    data[3, 4] = np.nan
    with pytest.raises(ContentError, match="NaN or infinite"):
        Preprocessing(SETTINGS, mode)(micrograph(data))


def test_an_image_of_nearly_one_level_still_has_a_range() -> None:
    """A few bright pixels on black lie beyond the percentiles, and are seen all the same."""
    data = np.zeros((200, 200), np.uint8)
    data[90:94, 90:94] = 200
    picture = by_default(data)
    assert np.isfinite(picture.image).all()
    assert np.ptp(picture.image) > 1


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (3, 3), (2, 1000)])
@pytest.mark.parametrize("mode", ["default", "published"])
def test_odd_shapes_go_through(shape: tuple[int, int], mode: Any) -> None:
    """Whatever its shape, an image gives a finite picture and a way back."""
    data = np.arange(math.prod(shape), dtype=np.uint16).reshape(shape) * 11
    picture = Preprocessing(SETTINGS, mode)(micrograph(data))
    assert np.isfinite(picture.image).all()
    raw = picture.view.to_raw(picture.image[0])
    assert raw.shape == shape
    assert np.isfinite(raw).any()


# Both.


@pytest.mark.parametrize("mode", ["default", "published"])
def test_a_planted_patch_is_mapped_back_to_its_place(mode: Any) -> None:
    """What is brightest in the network's picture lies, mapped back, on the planted patch."""
    data = np.random.default_rng(0).integers(0, 100, (600, 520), dtype=np.uint8)
    data[120:168, 330:378] = 250
    picture = Preprocessing(SETTINGS, mode)(micrograph(data))
    smooth = gaussian_filter(picture.image[0], 24 / picture.view.scale[0])
    raw = picture.view.to_raw(smooth)
    found = np.unravel_index(np.nanargmax(raw), raw.shape)
    assert np.abs(np.subtract(found, (143.5, 353.5))).max() < 8
    row, column = np.unravel_index(smooth.argmax(), smooth.shape)
    there = picture.view.to_view(np.array([143.5, 353.5]))
    assert np.abs(there - (row, column)).max() < 8 / picture.view.scale[0] + 1


def test_facts_describe_the_raw_image() -> None:
    """All six are measured, and each answers to what it is about."""
    data = tissue(300, 200)
    facts = by_default(data).facts
    assert tuple(facts) == FACTS
    assert (facts["rows"], facts["columns"]) == (300, 200)
    low, high = np.percentile(data, (0.5, 99.5))
    assert facts["contrast"] == pytest.approx((high - low) / 255)
    clipped = by_default(np.clip(data, 100, 140)).facts
    assert clipped["saturated"] > 0.5
    assert facts["saturated"] < 0.05
    blurred = by_default(gaussian_filter(data, 2)).facts
    assert blurred["sharpness"] < facts["sharpness"] / 3
    assert as_published(data).facts == pytest.approx(facts, nan_ok=True)


def test_keys_change_with_what_changes_the_picture() -> None:
    """Size, percentiles, page, mode and the rest each make another key; folds do not."""
    changes: list[dict[str, Any]] = [
        {},
        {"size": 128},
        {"percentiles": (1, 99)},
        {"pixel_size_nm": 5.0},
        {"page": 2},
        {"colour": "luminance"},
        {"data_bar": {"rows": 3}},
        {"data_bar": {"mode": "keep"}},
    ]
    keys = [Preprocessing(MicrographSettings(**change)).key for change in changes]
    keys.append(Preprocessing(MicrographSettings(), "published").key)
    assert len(set(keys)) == len(keys)
    assert Preprocessing(MicrographSettings(folds=7)).key == keys[0]
    sizes = {Preprocessing(MicrographSettings(size=n), "published").key for n in (96, 128)}
    assert len(sizes) == 1


@pytest.mark.parametrize("mode", ["default", "published"])
def test_a_file_is_preprocessed_once(tmp_path: Path, mode: Any) -> None:
    """The cached picture is equal in every part; a change of content or of sidecar is noticed."""
    path, cache = tmp_path / "S1V1.png", ArrayCache(tmp_path / "cache", 1 << 30)
    Image.fromarray(tissue(120, 100)).save(path)
    make = pickle.loads(pickle.dumps(Preprocessing(SETTINGS, mode)))
    plain, first, second = make.read(path), make.read(path, cache), make.read(path, cache)
    for picture in (first, second):
        assert np.array_equal(picture.image, plain.image)
        assert picture.view == plain.view
        assert picture.facts == pytest.approx(plain.facts, nan_ok=True)
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 1
    sidecar = {"PixelSize": [4.0, 4.0], "PixelSizeUnits": "nm"}
    (tmp_path / "S1V1.json").write_text(json.dumps(sidecar))
    assert make.read(path, cache).facts["pixel_size_nm"] == pytest.approx(4)
    Image.fromarray(tissue(120, 100, seed=5)).save(path)
    assert not np.array_equal(make.read(path, cache).image, plain.image)


def test_what_is_no_file_is_named_with_and_without_a_cache(tmp_path: Path) -> None:
    """The reader's own sentence comes through."""
    for cache in (None, ArrayCache(tmp_path / "cache", 1 << 30)):
        with pytest.raises(MissingFileError, match="there is no such file"):
            Preprocessing(SETTINGS).read(tmp_path / "gone.tif", cache)
        with pytest.raises(UnreadableFileError, match="it is a folder"):
            Preprocessing(SETTINGS).read(tmp_path, cache)
