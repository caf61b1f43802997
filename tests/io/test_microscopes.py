# SPDX-License-Identifier: Apache-2.0
"""Files of microscopes and the other formats of Pillow: pixels, their size, planes, damage."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from encephalon.errors import ContentError, InputError, MissingExtraError, UnreadableFileError
from encephalon.io import micrograph
from encephalon.io.micrograph import read_micrograph
from tests.io.microscope_writer import (
    ramp,
    write_czi,
    write_dm,
    write_lif,
    write_mrc,
    write_nd2,
)

STACK = ramp(np.uint8, (3, 6, 8))

#: Of each kind of file: its library, what writes it, pixels and their size, its planes, the second.
FILES: dict[str, tuple[str, Callable[[Path], None], Any, Any, str]] = {
    "czi": ("czifile", write_czi, ramp() + 7, (6.0, 5.0), "2 (C 1 ... C 2)"),
    "dm3": (
        "nionswift_plugin",
        lambda path: write_dm(path, ramp(np.uint16, (3, 6, 8))),
        ramp(np.uint16, (3, 6, 8))[1],
        (0.4, 0.5),
        "3 (plane 1 ... plane 3)",
    ),
    "dm4": (
        "nionswift_plugin",
        lambda path: write_dm(path, ramp(np.float32, (3, 6, 8))),
        ramp(np.float32, (3, 6, 8))[1],
        (0.4, 0.5),
        "3 (plane 1 ... plane 3)",
    ),
    "mrc": (
        "mrcfile",
        lambda path: write_mrc(path, ramp(np.uint16, (3, 6, 8))),
        ramp(np.uint16, (3, 6, 8))[1],
        (0.4, 0.5),
        "3 (Z 1 ... Z 3)",
    ),
    "lif": (
        "liffile",
        lambda path: write_lif(path, [ramp(np.uint16, (1, 5, 7)), STACK[:2]]),
        STACK[0],
        (2.0, 2.0),
        "3 (scene 1 ... scene 2, C 2)",
    ),
    "nd2": (
        "nd2",
        lambda path: write_nd2(path, ramp(np.uint16, (2, 6, 8, 2))),
        ramp(np.uint16, (2, 6, 8, 2))[0, :, :, 1],
        (250.0, 250.0),
        "4 (T 1, C 1 ... T 2, C 2)",
    ),
}


@pytest.fixture(params=FILES)
def kind(request: pytest.FixtureRequest) -> str:
    """A format whose library is installed."""
    pytest.importorskip(FILES[request.param][0])
    return str(request.param)


def test_the_plane_asked_for_is_read_with_the_size_of_its_pixels(kind: str, tmp_path: Path) -> None:
    """Pixels and their type as they were written, the first row on top; nm, down and across."""
    _, write, wanted, size, _ = FILES[kind]
    write(tmp_path / f"a.{kind}")
    found = read_micrograph(tmp_path / f"a.{kind}", page=2)
    assert np.array_equal(found.data, wanted)
    assert found.data.dtype == wanted.dtype
    assert found.pixel_size_nm == pytest.approx(size)


def test_of_several_planes_one_is_asked_for_by_what_they_are(kind: str, tmp_path: Path) -> None:
    """Scenes, times and channels have names in the sentence; a page that is not there too."""
    FILES[kind][1](path := tmp_path / f"a.{kind}")
    with pytest.raises(ContentError) as caught:
        read_micrograph(path)
    assert f"the file holds {FILES[kind][4]}; choose one with page=1" in str(caught.value)
    with pytest.raises(ContentError, match="page 9 was asked for"):
        read_micrograph(path, page=9)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_truncated_file_is_one_sentence(kind: str, tmp_path: Path, share: float) -> None:
    """No plane of zeros, no traceback: what is cut is refused with its name."""
    FILES[kind][1](path := tmp_path / f"a.{kind}")
    content = path.read_bytes()
    path.write_bytes(content[: max(220, int(share * len(content)))])
    with pytest.raises(InputError, match=f"a.{kind}") as caught:
        read_micrograph(path, page=3)
    assert "\n" not in str(caught.value)


def test_a_large_plane_is_refused_before_it_is_decoded(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same limit as every picture."""
    FILES[kind][1](path := tmp_path / f"a.{kind}")
    monkeypatch.setattr(micrograph, "LARGEST_PICTURE", 100)
    with pytest.raises(ContentError, match="crop or bin it"):
        read_micrograph(path, page=1)


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence: the file, the format, and the command that installs the reader."""
    write_czi(tmp_path / "a.czi")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        read_micrograph(tmp_path / "a.czi")
    assert "a.czi: a file of the format CZI needs the package 'czifile'" in str(caught.value)
    assert "pip install 'encephalon[microscopes]'" in str(caught.value)


@pytest.mark.parametrize(("flags", "wanted"), [(0, np.uint8), (1, np.float32)])
def test_bytes_of_imod_have_a_sign_where_its_header_says_so(
    tmp_path: Path, flags: int, wanted: type
) -> None:
    """IMOD writes 8 bits without a sign into a mode that has one, and marks the file."""
    pytest.importorskip("mrcfile")
    plane = ramp(np.uint8) + np.uint8(180)
    write_mrc(path := tmp_path / "a.mrc", plane.view(np.int8))
    content = bytearray(path.read_bytes())
    content[152:160] = np.array([1146047817, flags], "<i4").tobytes()
    path.write_bytes(content)
    found = read_micrograph(path).data
    assert found.dtype == wanted
    assert np.array_equal(found, plane if not flags else plane.view(np.int8))


def test_bytes_without_a_sign_stay_so_in_digital_micrograph(tmp_path: Path) -> None:
    """Its arrays have a sign, whatever the image says."""
    pytest.importorskip("nionswift_plugin")
    plane = ramp(np.uint8) + np.uint8(180)
    write_dm(tmp_path / "a.dm3", plane.view(np.int8))
    assert np.array_equal(read_micrograph(tmp_path / "a.dm3").data, plane)


PILLOW = ["bmp", "gif", "webp", "avif", "jp2", "qoi", "sgi", "pgm", "ppm", "pbm", "pfm"]
WITHOUT_LOSS = {"bmp", "gif", "qoi", "sgi", "pgm", "ppm"}
GREY = np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)


def _written(path: Path, data: np.ndarray = GREY) -> Path:
    """`data` in the format of that name, in the mode that it has."""
    suffix = path.suffix[1:]
    if suffix in {"webp", "avif"} and not features.check(suffix):
        pytest.skip(f"this Pillow was made without {suffix}")
    if suffix == "jp2" and not features.check("jpg_2000"):
        pytest.skip("this Pillow was made without JPEG 2000")
    mode = {"webp": "RGB", "avif": "RGB", "ppm": "RGB", "qoi": "RGB", "pbm": "1", "pfm": "F"}
    image = Image.fromarray(data)
    wanted = mode.get(suffix)
    try:
        (image if wanted is None else image.convert(wanted)).save(path)
    except (KeyError, ValueError):
        pytest.skip(f"this Pillow does not write {suffix}")
    return path


@pytest.mark.parametrize("suffix", PILLOW)
def test_other_formats_of_pillow_are_read(tmp_path: Path, suffix: str) -> None:
    """Pixels as they are stored, and one level of colours that are grey."""
    found = read_micrograph(_written(tmp_path / f"a.{suffix}"), colour="luminance").data
    assert found.shape == GREY.shape
    if suffix in WITHOUT_LOSS:
        assert found.dtype == np.uint8
        assert np.array_equal(found, GREY)
    elif suffix == "pfm":
        assert np.array_equal(found, GREY.astype(np.float32))


@pytest.mark.parametrize("suffix", PILLOW)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.97])
def test_other_formats_that_are_cut_are_one_sentence(
    tmp_path: Path, suffix: str, share: float
) -> None:
    """No decoder fills what is missing."""
    content = _written(path := tmp_path / f"a.{suffix}").read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UnreadableFileError, match=f"a.{suffix}"):
        read_micrograph(path, colour="luminance")


def test_16_bits_of_a_pgm_keep_their_type(tmp_path: Path) -> None:
    """Pillow holds them in 32."""
    plane = ramp(np.uint16, (6, 8))
    head = b"P5 8 6 65535\n"
    (tmp_path / "a.pgm").write_bytes(head + plane.astype(">u2").tobytes())
    found = read_micrograph(tmp_path / "a.pgm").data
    assert found.dtype == np.uint16
    assert np.array_equal(found, plane)


def test_frames_of_a_gif_are_pages(tmp_path: Path) -> None:
    """An animation is asked which, as several pages are."""
    frames = [Image.fromarray(np.full((6, 8), level, np.uint8)) for level in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ContentError, match="the file holds 2; choose one"):
        read_micrograph(tmp_path / "a.gif")
    assert read_micrograph(tmp_path / "a.gif", page=2).data.max() == 200
