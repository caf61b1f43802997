# SPDX-License-Identifier: Apache-2.0
"""A TIFF is the same picture whatever its compression, its layout and its byte order."""

from __future__ import annotations

import tracemalloc
import zlib
from itertools import product
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from encephalon.errors import ContentError, UnreadableFileError
from encephalon.io.micrograph import read_micrograph, write_plane
from encephalon.io.volumes.opening import open_volume
from tests.io.tiff_writer import COMPRESSIONS, write_tiff

PACKED = sorted(COMPRESSIONS)
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = 0, 1, 2, 3
ORIENTATION, EXTRA, COLOUR_MAP = 274, 338, 320
_JPEG_IN_TIFF = 7


@pytest.fixture
def levels(rng: np.random.Generator) -> np.ndarray:
    """(23, 37) levels below 1 << 16, both ends among them, no length a multiple of 8."""
    values = rng.integers(0, 1 << 16, (23, 37))
    values[0, :2] = 0, (1 << 16) - 1
    return values


def wanted(stored: np.ndarray, bits: int, photometric: int) -> np.ndarray:
    """What such levels mean: white bright, 1, 2 and 4 bits stretched to 8."""
    top = (1 << bits) - 1
    seen = top - stored.astype(np.int64) if photometric == WHITE_IS_ZERO else stored
    return np.asarray(seen * (255 // top if bits < 8 else 1))


@pytest.mark.parametrize("compression", PACKED)
def test_grey_levels_of_any_number_of_bits(
    tmp_path: Path, levels: np.ndarray, compression: str
) -> None:
    """As they are stored, with white bright."""
    for photometric, bits, order in product(
        [WHITE_IS_ZERO, BLACK_IS_ZERO], [1, 2, 4, 8, 10, 12, 14, 16], ["<", ">"]
    ):
        stored = (levels >> (16 - bits)).astype(np.uint8 if bits <= 8 else np.uint16)
        path = write_tiff(
            tmp_path / "a.tif", stored, compression, bits=bits, photometric=photometric, order=order
        )
        found = read_micrograph(path).data
        assert found.dtype == (np.uint8 if bits <= 8 else np.uint16)
        np.testing.assert_array_equal(found, wanted(stored, bits, photometric))


@pytest.mark.parametrize("compression", PACKED)
def test_other_numbers(tmp_path: Path, levels: np.ndarray, compression: str) -> None:
    """Signed, long and real ones become float32, differences between neighbours undone."""
    for kind, predictor in product(["i1", "i2", "i4", "u4", "f2", "f4", "f8"], [1, 2]):
        stored = (levels / 1024 - 20).astype(kind) if kind != "u4" else levels.astype(kind)
        for order in "<>":
            path = write_tiff(
                tmp_path / "a.tif",
                stored,
                compression,
                order=order,
                predictor=predictor if compression not in {"none", "packbits"} else 1,
            )
            np.testing.assert_array_equal(read_micrograph(path).data, stored.astype(np.float32))


@pytest.mark.parametrize("compression", ["lzw", "deflate", "lzma"])
def test_the_predictor_of_real_numbers(
    tmp_path: Path, levels: np.ndarray, compression: str
) -> None:
    """Bytes of one weight lie together, as differences."""
    for kind, order in product(["f2", "f4", "f8"], ["<", ">"]):
        stored = (levels / 999).astype(kind)
        path = write_tiff(tmp_path / "a.tif", stored, compression, predictor=3, order=order)
        np.testing.assert_array_equal(read_micrograph(path).data, stored.astype(np.float32))


@pytest.mark.parametrize("compression", PACKED)
def test_colours_in_strips_tiles_and_planes(
    tmp_path: Path, levels: np.ndarray, compression: str
) -> None:
    """Side by side or one plane a colour, with every kind of fourth sample, which is left out."""
    for tile, planar, extra in product([None, (16, 16), (16, 48)], [False, True], [None, 0, 1, 2]):
        grey = (levels >> 8).astype(np.uint8)
        stored = np.stack([grey] * 3 + ([grey[::-1]] if extra is not None else []), axis=-1)
        path = write_tiff(
            tmp_path / "a.tif",
            stored,
            compression,
            photometric=RGB,
            tile=tile,
            planar=planar,
            tags={EXTRA: ("H", (extra,))} if extra is not None else None,
        )
        np.testing.assert_array_equal(read_micrograph(path).data, grey)


@pytest.mark.parametrize("compression", PACKED)
def test_grey_with_transparency(tmp_path: Path, levels: np.ndarray, compression: str) -> None:
    """The second sample is left out; two channels of no known meaning are refused."""
    for photometric, planar, kind in product(
        [WHITE_IS_ZERO, BLACK_IS_ZERO], [False, True], [np.uint8, np.uint16]
    ):
        grey = levels.astype(kind)
        stored = np.stack([grey, grey[::-1]], axis=-1)
        for extra in (1, 2, 0):
            path = write_tiff(
                tmp_path / "a.tif",
                stored,
                compression,
                photometric=photometric,
                planar=planar,
                tags={EXTRA: ("H", (extra,))},
            )
            if extra == 0:
                with pytest.raises(ContentError, match="has 2 channel"):
                    read_micrograph(path)
            else:
                found = read_micrograph(path).data
                np.testing.assert_array_equal(found, wanted(grey, 8 * grey.itemsize, photometric))


@pytest.mark.parametrize("compression", PACKED)
def test_the_orientation_is_not_followed(
    tmp_path: Path, levels: np.ndarray, compression: str
) -> None:
    """Maps lie in the pixels as they are stored, those that Fiji shows."""
    for orientation in range(1, 9):
        path = write_tiff(
            tmp_path / "a.tif",
            levels.astype(np.uint16),
            compression,
            tags={ORIENTATION: ("H", (orientation,))},
        )
        np.testing.assert_array_equal(read_micrograph(path).data, levels)


@pytest.mark.parametrize("compression", PACKED)
def test_palettes_of_8_and_of_16_bits(tmp_path: Path, levels: np.ndarray, compression: str) -> None:
    """Some programs write a map's 8 bits where 16 belong."""
    for bits, scale in product([1, 4, 8], [1, 257]):
        stored = (levels >> (16 - bits)).astype(np.uint8)
        entries = np.linspace(250, 5, 1 << bits).astype(int)
        path = write_tiff(
            tmp_path / "a.tif",
            stored,
            compression,
            bits=bits,
            photometric=PALETTE,
            tags={COLOUR_MAP: ("H", tuple((entries * scale).tolist()) * 3)},
        )
        np.testing.assert_array_equal(read_micrograph(path).data, entries[stored])


@pytest.mark.parametrize("compression", PACKED)
def test_bytes_whose_bits_are_reversed(
    tmp_path: Path, levels: np.ndarray, compression: str
) -> None:
    """Tag 266, of fax machines."""
    for bits, tile in product([1, 8, 12, 16], [None, (16, 16)]):
        stored = (levels >> (16 - bits)).astype(np.uint8 if bits <= 8 else np.uint16)
        path = write_tiff(
            tmp_path / "a.tif", stored, compression, bits=bits, reverse_bits=True, tile=tile
        )
        np.testing.assert_array_equal(read_micrograph(path).data, wanted(stored, bits, 1))


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "tiff_lzw", "raw"])
def test_fax_is_read_as_every_viewer_shows_it(
    tmp_path: Path, levels: np.ndarray, compression: str
) -> None:
    """Pillow writes it, with either meaning of its bits."""
    for photometric in [WHITE_IS_ZERO, BLACK_IS_ZERO]:
        shown = levels > 40_000
        path = tmp_path / "a.tif"
        Image.fromarray(shown).save(path, compression=compression, tiffinfo={262: photometric})
        np.testing.assert_array_equal(read_micrograph(path).data, shown * 255)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "packbits", "tiff_deflate", "raw"])
def test_files_of_libtiff(tmp_path: Path, compression: str) -> None:
    """A ramp that is dark at the top left stays so; JPEG loses a little."""
    for photometric, orientation in product([WHITE_IS_ZERO, BLACK_IS_ZERO], [1, 3, 6]):
        ramp = (np.add.outer(np.arange(200), np.arange(300)) / 499 * 255).astype(np.uint8)
        path = tmp_path / "a.tif"
        information = {262: photometric, ORIENTATION: orientation}
        Image.fromarray(ramp).save(path, compression=compression, tiffinfo=information)
        found = read_micrograph(path).data.astype(int)
        assert np.abs(found - ramp).max() <= (4 if compression == "jpeg" else 0)


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
def test_jpeg_within_a_tiff(tmp_path: Path, mode: str) -> None:
    """Of one sample and of three, with its tables apart, in several strips."""
    ramp = np.broadcast_to(np.linspace(20, 230, 256).astype(np.uint8), (200, 256))
    path = tmp_path / "a.tif"
    picture = Image.fromarray(np.ascontiguousarray(ramp))
    picture.convert(mode).save(path, compression="jpeg", strip_size=64 * 256)
    found = read_micrograph(path, colour="luminance").data
    assert np.abs(found.astype(int) - ramp).max() <= 6


def test_a_strip_that_holds_less_than_its_rows_is_refused(
    tmp_path: Path, levels: np.ndarray
) -> None:
    """A whole stream of half the bytes; nothing is made up for the rest."""
    path = write_tiff(tmp_path / "a.tif", levels.astype(np.uint8), "deflate", rows_per_strip=99)
    content = bytearray(path.read_bytes())
    short = zlib.compress(levels.astype(np.uint8).tobytes()[:300])
    content[8 : 8 + len(short)] = short
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"could not be read: .*300"):
        read_micrograph(path)


def test_a_compression_without_bounds_is_named(tmp_path: Path, levels: np.ndarray) -> None:
    """JPEG 2000 of some bytes may unpack to gigabytes; the sentence says what else to use."""
    path = write_tiff(tmp_path / "a.tif", levels.astype(np.uint8), tags={259: ("H", (34_712,))})
    with pytest.raises(UnreadableFileError, match=r"JPEG2000.*save it with LZW"):
        read_micrograph(path)


@pytest.mark.parametrize("code", [8, 50_000, _JPEG_IN_TIFF, 32_773])
def test_a_strip_that_unpacks_to_far_more_than_its_rows_is_refused(
    tmp_path: Path, levels: np.ndarray, code: int
) -> None:
    """A few kilobytes that would fill gigabytes never do."""
    packed = {
        8: lambda: zlib.compress(bytes(1 << 25)),
        50_000: lambda: imagecodecs.zstd_encode(bytes(1 << 25)),
        _JPEG_IN_TIFF: lambda: imagecodecs.jpeg8_encode(np.zeros((3000, 3000), np.uint8)),
        32_773: lambda: b"\x81\x00" * (1 << 18),
    }[code]()
    data = levels.astype(np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, compression=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages[0].tags
        tags["Compression"].overwrite(code)
        tags["StripByteCounts"].overwrite(len(packed))
        tags["StripOffsets"].overwrite(path.stat().st_size)
    with path.open("ab") as stream:
        stream.write(packed)
    tracemalloc.start()
    with pytest.raises(UnreadableFileError, match="could not be read"):
        read_micrograph(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.parametrize("kind", [np.uint32, np.uint64, np.int16, np.int32])
def test_white_is_zero_keeps_the_picture_of_many_bits(tmp_path: Path, kind: type) -> None:
    """Seen from a white of 4,294,967,295 all levels would be one in float32."""
    data = np.arange(600).reshape(20, 30).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="miniswhite")
    levels = read_micrograph(tmp_path / "a.tif").data
    np.testing.assert_array_equal(levels, 599.0 - data)


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 6, 7), (3, 6, 7), (5, 6, 3), (4, 3, 4)])
def test_a_written_stack_has_a_page_for_each_plane(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Whatever its sides, no axis is taken for colours."""
    planes = np.random.default_rng(0).random(shape, np.float32)
    write_plane(planes, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert [page.shape for page in file.pages] == [shape[1:]] * shape[0]
    np.testing.assert_array_equal(open_volume(tmp_path / "a.tif").read(), planes)
