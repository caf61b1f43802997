# SPDX-License-Identifier: Apache-2.0
"""Pictures of tissue: what is read of every kind, and what is said of what cannot be."""

from __future__ import annotations

import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from encephalon.errors import ContentError, InputError, MissingFileError, UnreadableFileError
from encephalon.io.micrograph import is_picture, picture_stem, read_micrograph, write_plane

ROWS, COLUMNS = 48, 64


@pytest.fixture
def grey(rng: np.random.Generator) -> np.ndarray:
    """(48, 64) uint8 noise that holds both ends of the range."""
    values = rng.integers(0, 256, (ROWS, COLUMNS), dtype=np.uint8)
    values[0, :2] = 0, 255
    return values


def tiff(folder: Path, data: np.ndarray, **more: Any) -> Path:
    path = folder / "a.tif"
    tifffile.imwrite(path, data, **({"photometric": "minisblack"} | more))
    return path


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("order", ["<", ">"])
def test_levels_of_a_tiff_keep_their_type(tmp_path: Path, kind: type, order: str) -> None:
    """8 bits, 16 bits and floats come back as they were written, in either byte order."""
    data = (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 251).astype(kind)
    picture = read_micrograph(tiff(tmp_path, data, byteorder=order, rowsperstrip=7))
    assert picture.data.dtype == kind
    assert picture.data.dtype.isnative
    np.testing.assert_array_equal(picture.data, data)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.uint32, np.int32, np.float16, np.float64])
def test_other_numbers_become_float32(tmp_path: Path, kind: type) -> None:
    """Their values stay."""
    data = np.arange(-9, 9).reshape(3, 6).astype(kind) if kind != np.uint32 else np.eye(4, 5)
    picture = read_micrograph(tiff(tmp_path, data.astype(kind)))
    assert picture.data.dtype == np.float32
    np.testing.assert_array_equal(picture.data, data.astype(np.float32))


@pytest.mark.parametrize(
    ("bits", "compression"),
    [
        *((bits, name) for bits in (8, 16) for name in ("tiff_lzw", "tiff_deflate", "packbits")),
        (8, "jpeg"),
        (16, "raw"),
    ],
)
def test_compressed_tiffs_are_read(
    tmp_path: Path, grey: np.ndarray, compression: str, bits: int
) -> None:
    """Whatever Fiji, Photoshop and microscopes write; JPEG loses a little, the others nothing."""
    data = grey if bits == 8 else grey.astype(np.uint16) * 200
    path = tmp_path / "a.tif"
    Image.fromarray(data).save(path, compression=compression)
    found = read_micrograph(path).data
    assert found.dtype == data.dtype
    difference = np.abs(found.astype(int) - data.astype(int))
    assert difference.max() <= (60 if compression == "jpeg" else 0)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *((end, mode) for end in (".png", ".tif") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *((end, "I;16") for end in (".png", ".tif")),
        *((".jpg", mode) for mode in ("L", "RGB")),
    ],
)
def test_grey_is_grey_in_every_mode(
    tmp_path: Path, grey: np.ndarray, suffix: str, mode: str
) -> None:
    """Equal channels, palettes of grey and transparency all give the same levels."""
    path, data = tmp_path / f"a{suffix}", np.where(grey > 99, np.uint8(255), np.uint8(0))
    picture = Image.fromarray(data if mode != "I;16" else data.astype(np.uint16) * 257)
    (picture if mode == "I;16" else picture.convert(mode)).save(path)
    found = read_micrograph(path).data
    assert found.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    wanted = data.astype(int) * (257 if mode == "I;16" else 1)
    assert np.abs(found - wanted).max() <= (40 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.bool_])
def test_white_is_bright_whatever_the_file_says(tmp_path: Path, kind: type) -> None:
    """Levels of a "white is zero" TIFF are turned round."""
    data = (np.arange(24).reshape(4, 6) % 2).astype(kind)
    found = read_micrograph(tiff(tmp_path, data, photometric="miniswhite")).data
    top = 255 if kind != np.uint16 else 65535
    low = 0 if kind == np.bool_ else top - 1
    np.testing.assert_array_equal(found, np.where(data == 1, low, top))


def test_planes_of_colour_are_put_side_by_side(tmp_path: Path, grey: np.ndarray) -> None:
    """A TIFF that stores red, green and blue one after the other is grey if they are equal."""
    path = tiff(tmp_path, np.stack([grey] * 3), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_micrograph(path).data, grey)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colour_is_refused_or_made_the_luminance_of_pillow(
    tmp_path: Path, rng: np.random.Generator, suffix: str
) -> None:
    """To the last level."""
    path = tmp_path / f"a{suffix}"
    picture = Image.fromarray(rng.integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8))
    picture.save(path)
    with pytest.raises(ContentError, match=r'expected grey levels.*study\.colour="luminance"'):
        read_micrograph(path)
    found = read_micrograph(path, colour="luminance").data
    np.testing.assert_array_equal(found, np.asarray(picture.convert("L")))


def test_luminance_of_16_bits_and_floats_is_the_same_mixture(tmp_path: Path) -> None:
    """White stays white, and no channel overflows."""
    white = np.full((4, 5, 3), 65535, np.uint16)
    white[0, 0, 0] = 0
    levels = read_micrograph(tiff(tmp_path, white, photometric="rgb"), colour="luminance").data
    assert (levels[1, 1], levels.dtype) == (65535, np.uint16)
    floats = tiff(tmp_path, white.astype(np.float32), photometric="rgb")
    found = read_micrograph(floats, colour="luminance").data
    np.testing.assert_allclose(found, levels, rtol=1e-5)


def test_several_pages_are_named_and_one_can_be_chosen(tmp_path: Path) -> None:
    """The sentence says how many there are and how to choose; pages count from 1."""
    path = tiff(tmp_path, np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    with pytest.raises(ContentError, match=r"holds 3; choose one .*study\.page=1"):
        read_micrograph(path)
    assert read_micrograph(path, page=2).data[0, 0] == 20
    for wrong in (0, 4):
        with pytest.raises(ContentError, match=f"page {wrong} was asked for"):
            read_micrograph(path, page=wrong)


def test_of_an_animated_png_the_page_asked_for_is_read(tmp_path: Path) -> None:
    """And not always the first."""
    path, pages = tmp_path / "a.png", [Image.new("L", (9, 8), level) for level in (10, 20, 30)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert [read_micrograph(path, page=page).data.max() for page in (1, 2, 3)] == [10, 20, 30]


def test_pages_behind_one_directory_count(tmp_path: Path) -> None:
    """Large ImageJ stacks have a single directory; the other planes are no secret."""
    path = tmp_path / "a.tif"
    data = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    tifffile.imwrite(path, data, imagej=True, truncate=True)
    with pytest.raises(ContentError, match="holds 3"):
        read_micrograph(path)
    np.testing.assert_array_equal(read_micrograph(path, page=3).data, data[2])


def test_thumbnails_are_no_pages(tmp_path: Path, grey: np.ndarray) -> None:
    """A page that calls itself reduced does not make a picture ambiguous."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(grey, photometric="minisblack")
        writer.write(grey[::4, ::4], photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(read_micrograph(path).data, grey)


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "resolution": (500, 250), "metadata": {"unit": "micron"}},
        {"imagej": True, "resolution": (0.5, 0.25), "metadata": {"unit": "nm"}},
        {"imagej": True, "resolution": (500, 250), "metadata": {"unit": "\\u00B5m"}},
        {"resolution": (5e6, 2.5e6), "resolutionunit": "CENTIMETER"},
        {"resolution": (1.27e7, 6.35e6), "resolutionunit": "INCH"},
        {"ome": True, "metadata": {"PhysicalSizeX": 0.002, "PhysicalSizeY": 0.004}},
        {
            "ome": True,
            "metadata": {
                **{"PhysicalSizeX": 2, "PhysicalSizeXUnit": "nm"},
                **{"PhysicalSizeY": 4, "PhysicalSizeYUnit": "nm"},
            },
        },
        {"extratags": [(34682, 2, 0, "[Scan]\r\nPixelWidth=2e-9\r\nPixelHeight=4e-9\r\n", True)]},
    ],
)
def test_the_pixel_size_is_read_of_every_dialect(
    tmp_path: Path, grey: np.ndarray, options: dict[str, Any]
) -> None:
    """2 nm across, 4 nm down, in the words of ImageJ, OME, Thermo and plain TIFF."""
    size = read_micrograph(tiff(tmp_path, grey, **options)).pixel_size_nm
    assert size == pytest.approx((4.0, 2.0))


def test_the_pixel_size_of_zeiss_is_read(tmp_path: Path, grey: np.ndarray) -> None:
    """One edge for both axes."""
    text = "0\r\n" * 3 + "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 2.5 nm\r\n"
    path = tiff(tmp_path, grey, extratags=[(34118, 2, 0, text, True)])
    assert read_micrograph(path).pixel_size_nm == (2.5, 2.5)


def test_a_sidecar_has_the_last_word_on_pixel_size(tmp_path: Path, grey: np.ndarray) -> None:
    """BIDS writes it as X, Y."""
    path = tiff(tmp_path, grey, resolution=(1e7, 1e7), resolutionunit="CENTIMETER")
    assert read_micrograph(path).pixel_size_nm == pytest.approx((1.0, 1.0))
    record = {"PixelSize": [0.13, 0.26, 1], "PixelSizeUnits": "um"}
    (tmp_path / "a.json").write_text(json.dumps(record), encoding="utf-8")
    assert read_micrograph(path).pixel_size_nm == pytest.approx((260.0, 130.0))


@pytest.mark.parametrize("dots", [72, 300, 600, 2400])
def test_a_print_setting_is_no_pixel_size(tmp_path: Path, grey: np.ndarray, dots: int) -> None:
    """Neither in TIFF nor in PNG."""
    path = tiff(tmp_path, grey, resolution=(dots, dots), resolutionunit="INCH")
    assert read_micrograph(path).pixel_size_nm is None
    Image.fromarray(grey).save(tmp_path / "a.png", dpi=(dots, dots))
    assert read_micrograph(tmp_path / "a.png").pixel_size_nm is None


@pytest.mark.parametrize("suffix", [".tif", ".png", ".jpg"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.98])
def test_a_truncated_picture_is_one_sentence(
    tmp_path: Path, grey: np.ndarray, suffix: str, share: float
) -> None:
    """Wherever it ends; and nothing is made up for what is missing."""
    path = tmp_path / f"a{suffix}"
    Image.fromarray(grey).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(len(whole) * share)])
    with pytest.raises(UnreadableFileError) as caught:
        read_micrograph(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_a_truncated_compressed_tiff_is_one_sentence(
    tmp_path: Path, grey: np.ndarray, compression: str
) -> None:
    """Its directory stands before its strips, so only the pixels are missing."""
    path = tiff(tmp_path, grey, compression="zlib")
    if compression != "tiff_deflate":
        Image.fromarray(grey).save(path, compression=compression)
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            at, count = page.dataoffsets[0], page.databytecounts[0]
        content = bytearray(path.read_bytes())
        content[at + 3 : at + count] = bytes(count - 3)
        path.write_bytes(content)
    else:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError) as caught:
        read_micrograph(path)
    assert str(path) in str(caught.value)


def test_pages_that_point_at_one_another_come_to_an_end(tmp_path: Path, grey: np.ndarray) -> None:
    """A flipped bit can make the directory of a TIFF its own successor."""
    path = tiff(tmp_path, grey, metadata=None)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        at, link = page.offset, page.offset + 2 + 12 * len(page.tags)
    content = bytearray(path.read_bytes())
    content[link : link + 4] = at.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match="point at one another"):
        read_micrograph(path)


def test_a_picture_of_a_billion_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """30,000 × 30,000 in a few bytes: PNG and TIFF say their size first, and nobody warns."""

    def chunk(name: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(name + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + name + body + crc

    edge = (30_000).to_bytes(4, "big")
    header = chunk(b"IHDR", edge + edge + bytes([8, 0, 0, 0, 0]))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(9)))
    (tmp_path / "a.png").write_bytes(png + chunk(b"IEND", b""))
    small = tiff(tmp_path, np.zeros((30, 31), np.uint8))
    content = small.read_bytes()
    for short in (30, 31):  # tags 256 and 257 hold these as the first shorts of a count of one
        field = (1).to_bytes(4, "little") + short.to_bytes(2, "little")
        content = content.replace(field, field[:4] + (30_000).to_bytes(2, "little"), 1)
    small.write_bytes(content)
    for name in ("a.png", "a.tif"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ContentError, match=r"30,000 × 30,000 pixels, 900 million"):
                read_micrograph(tmp_path / name)


def test_pictures_above_the_limit_of_pillow_are_read_without_a_warning(tmp_path: Path) -> None:
    """90 million pixels, beyond which Image.open warns of a decompression bomb."""
    path = tmp_path / "a.png"
    Image.new("1", (9600, 9400)).save(path)
    assert read_micrograph(path).data.shape == (9400, 9600)


def test_pixels_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    """NaN and infinity, and 64-bit numbers that no float32 holds."""
    data = np.ones((4, 5))
    data[0, 0], data[1, 1], data[2, 2] = np.nan, np.inf, 1e300
    with pytest.raises(ContentError, match="3 of 20 pixels are NaN or infinite"):
        read_micrograph(tiff(tmp_path, data))
    with pytest.raises(ContentError, match="expected real numbers"):
        read_micrograph(tiff(tmp_path, np.ones((4, 5), np.complex64)))


def test_channels_that_are_no_colours_are_refused(tmp_path: Path) -> None:
    """Two detectors in one picture are not cut down to the first."""
    path = tiff(tmp_path, np.zeros((4, 5, 2), np.uint8), planarconfig="contig", extrasamples=[0])
    with pytest.raises(ContentError, match="has 2 channel"):
        read_micrograph(path)
    Image.new("CMYK", (5, 4)).save(tmp_path / "a.tif")
    with pytest.raises(ContentError, match="SEPARATED"):
        read_micrograph(tmp_path / "a.tif")


def test_what_is_no_picture_is_one_sentence(tmp_path: Path) -> None:
    """Nothing, a folder, a pointer, a volume, a volume under a picture's name."""
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "pointer.tif").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "scan.nii").write_bytes(bytes(400))
    (tmp_path / "scan.tif").write_bytes(bytes(400))
    for name, words in {
        "gone.tif": "no such file",
        "folder.tif": "a folder",
        "pointer.tif": "Git LFS pointer",
        "scan.nii": r"expected a picture named .*the suffix is \.nii",
        "scan.tif": "its content is none;",
    }.items():
        with pytest.raises(InputError, match=words) as caught:
            read_micrograph(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(MissingFileError):
        read_micrograph(tmp_path / "gone.tif")


def test_the_content_decides_and_not_the_name(tmp_path: Path, grey: np.ndarray) -> None:
    """A PNG called .tif is read."""
    Image.fromarray(grey).save(tmp_path / "a.tif", format="PNG")
    np.testing.assert_array_equal(read_micrograph(tmp_path / "a.tif").data, grey)


def test_a_16_bit_png_in_colour_is_not_cut_to_8_bits(tmp_path: Path) -> None:
    """Pillow would do so without a word."""
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[24] = 16
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ContentError, match="16-bit PNG"):
        read_micrograph(tmp_path / "a.png")


def test_a_written_plane_is_read_back_by_others(tmp_path: Path) -> None:
    """Float32, not a number where nothing is known, equal bytes for equal planes."""
    plane = np.linspace(0, 1, 30).reshape(5, 6).astype(np.float32)
    write_plane(plane, tmp_path / "new" / "a_cam.tif")
    np.testing.assert_array_equal(read_micrograph(tmp_path / "new" / "a_cam.tif").data, plane)
    first = (tmp_path / "new" / "a_cam.tif").read_bytes()
    write_plane(plane, tmp_path / "new" / "a_cam.tif")
    assert (tmp_path / "new" / "a_cam.tif").read_bytes() == first
    plane[0, 0] = np.nan
    write_plane(plane, tmp_path / "b.tif")
    with Image.open(tmp_path / "b.tif") as picture:  # a reader of its own, through libtiff
        np.testing.assert_array_equal(np.asarray(picture), plane)
    with pytest.raises(ValueError, match="rows and columns"):
        write_plane(np.zeros((1, 2, 3, 4)), tmp_path / "c.tif")


def test_names_of_pictures(tmp_path: Path) -> None:
    """The whole of .ome.tif goes; other points stay."""
    assert picture_stem("x/a.b.ome.tif") == "a.b"
    assert picture_stem("S3V1.TIFF") == "S3V1"
    assert is_picture("a.JPG")
    assert not is_picture("a.nii.gz")


@pytest.mark.data
def test_real_micrographs_and_slices_are_read(data: Path) -> None:
    """Scanning electron micrographs (PNG at 72 dots an inch) and MR slices (JPEG)."""
    micrographs = sorted((data / "em" / "axon-sem").glob("sub-*/micr/*_SEM.png"))
    slices = sorted((data / "slices").glob("*/*.jpg"))[::40]
    assert len(micrographs) == 6
    for path in [*micrographs, *slices]:
        picture = read_micrograph(path)
        assert picture.data.dtype == np.uint8
        assert picture.pixel_size_nm is None
        assert picture.data.std() > 5
