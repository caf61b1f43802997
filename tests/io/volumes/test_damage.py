# SPDX-License-Identifier: Apache-2.0
"""What is damaged, cut or no volume is refused in one sentence, and never read as zeros."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Picture

from encephalon.errors import ContentError, InputError, UnreadableFileError
from encephalon.io.volumes.opening import open_volume

SHAPE = (6, 8, 10)
VOXELS = np.random.default_rng(3).integers(1, 250, SHAPE).astype(np.uint8)


def refusal(read: Callable[[], Any]) -> str | None:
    """The sentence with which `read` refuses; None where it gives the voxels."""
    try:
        found = read()
    except InputError as error:
        return str(error)
    np.testing.assert_array_equal(found, VOXELS)
    return None


def sentence(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """What was said, which must be one line that ends as a sentence does."""
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def save(folder: Path, kind: str) -> Path:
    path = folder / f"a.{kind.split(maxsplit=1)[0]}"
    if kind == "npy":
        np.save(path, VOXELS)
    elif kind.startswith("h5"):
        with h5py.File(path, "w") as file:
            packed = "gzip" if "packed" in kind else None
            file.create_dataset("v", data=VOXELS, compression=packed)
    else:
        packed = "zlib" if "packed" in kind else None
        tifffile.imwrite(path, VOXELS, photometric="minisblack", compression=packed)
    return path


@pytest.mark.parametrize("kind", ["npy", "tif", "tif packed", "h5", "h5 packed"])
def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path: Path, kind: str) -> None:
    """At any length, one sentence that names the file; what can still be read is what was there."""
    path = save(tmp_path, kind)
    content = path.read_bytes()
    for length in [*range(0, len(content), max(1, len(content) // 60)), len(content) - 1]:
        path.write_bytes(content[:length])
        said = refusal(lambda: open_volume(path).read())
        assert said is None or (path.name in said and "\n" not in said)


@pytest.mark.parametrize("codec", ["gzip", "zstd", "blosc", "none", "shards"])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "long"])
def test_a_damaged_chunk_is_an_error_and_no_filling(
    tmp_path: Path, version: int, codec: str, damage: str
) -> None:
    """The sentence names file and box; other boxes are still read."""
    if codec == "shards" and version == 2:
        pytest.skip("Zarr 2 has no shards")
    if codec in {"none", "shards"} and damage in {"noise", "long"}:
        pytest.skip("bytes without a checksum of their own")
    make_zarr(tmp_path / "a.zarr", version, codec)
    chunk = tmp_path / "a.zarr" / ("0.0.0" if version == 2 else "c/0/0/0")
    content = chunk.read_bytes()
    noise = bytes(reversed(content))
    changed = {"cut": content[:-5], "empty": b"", "noise": noise, "long": content * 2}
    chunk.write_bytes(changed[damage])
    volume = open_volume(tmp_path / "a.zarr")
    np.testing.assert_array_equal(volume.read(((4, 6), (4, 8), (4, 10))), VOXELS[4:6, 4:, 4:])
    assert volume.missing(((4, 6), (4, 8), (4, 10))) == 0
    said = refusal(volume.read)
    assert damage == "long" if said is None else "a.zarr, z 0:6, y 0:8, x 0:10: the voxels" in said


def make_zarr(place: Path, version: int, codec: str) -> None:
    options: dict[str, Any] = {"chunks": (2, 4, 4), "zarr_format": version}
    if codec == "shards":
        options |= {"shards": (4, 4, 4), "compressors": None}
    elif version == 2:
        import numcodecs

        packers = {"gzip": numcodecs.GZip(), "zstd": numcodecs.Zstd(), "blosc": numcodecs.Blosc()}
        options["compressors"] = packers.get(codec)
    else:
        from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

        packers = {"gzip": GzipCodec(), "zstd": ZstdCodec(), "blosc": BloscCodec()}
        options["compressors"] = packers.get(codec)
    zarr.create_array(str(place), shape=SHAPE, dtype=VOXELS.dtype, **options)[:] = VOXELS


@pytest.mark.parametrize("version", [2, 3])
def test_a_missing_chunk_is_filled_and_counted(tmp_path: Path, version: int) -> None:
    """As Zarr has it; who needs a whole box says so."""
    make_zarr(tmp_path / "a.zarr", version, "zstd")
    (tmp_path / "a.zarr" / ("0.0.0" if version == 2 else "c/0/0/0")).unlink()
    volume = open_volume(tmp_path / "a.zarr")
    expected = VOXELS.copy()
    expected[:2, :4, :4] = 0
    np.testing.assert_array_equal(volume.read(), expected)
    assert volume.missing() == 1
    assert volume.missing(((2, 6), (0, 8), (0, 10))) == 0
    with pytest.raises(UnreadableFileError, match="1 of the stored pieces") as caught:
        volume.read(((0, 3), (0, 8), (0, 10)), complete=True)
    assert "z 0:3, y 0:8, x 0:10" in sentence(caught)


@pytest.mark.parametrize("place", ["start", "end"])
def test_chunks_that_a_shard_does_not_hold_are_counted(tmp_path: Path, place: str) -> None:
    """Wherever the shard has its index; a shard that is not there lacks all its chunks."""
    from zarr.codecs import BytesCodec, ShardingCodec

    array = zarr.create_array(
        str(tmp_path / "s.zarr"),
        shape=(8, 8, 8),
        dtype="u1",
        chunks=(4, 4, 4),
        compressors=None,
        filters=None,
        serializer=ShardingCodec(
            chunk_shape=(2, 2, 2), codecs=[BytesCodec()], index_location=place
        ),
    )
    array[0:2, 0:4, 0:2] = 5
    volume = open_volume(tmp_path / "s.zarr")
    assert volume.missing(((0, 4), (0, 4), (0, 4))) == 6
    assert volume.missing(((0, 1), (0, 3), (0, 1))) == 0
    assert volume.missing() == 64 - 2


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": [0, 8, 10]}, "expected voxels along each axis"),
        ({"shape": [6, 8]}, "its shape is"),
        ({"shape": [6, 8, -1]}, "a.zarr"),
        ({"shape": "large"}, "a.zarr"),
        ({"shape": [1 << 40, 1 << 40, 1 << 40], "chunks": [2, 4, 4]}, "a.zarr"),
        ({"chunks": [1 << 20, 1 << 10, 1 << 10]}, "to unpack"),
        ({"chunks": [0, 4, 4]}, "its chunks"),
        ({"dtype": "|O"}, "one real number a voxel"),
        ({"dtype": "<c16"}, "one real number a voxel"),
        ({"dtype": "<M8[ns]"}, "one real number a voxel"),
        ({"dtype": "quaternion"}, "could not be read"),
        ({"codec": "pickle"}, "packed with pickle"),
        ({"codec": "vlen-utf8"}, "packed with vlen-utf8"),
        ({"codec": "unheard-of"}, "packed with unheard-of"),
    ],
)
def test_metadata_without_sense_are_refused(
    tmp_path: Path, version: int, change: dict[str, Any], message: str
) -> None:
    """Before a chunk is read, and without unpickling: what is asked for is what voxels need."""
    folder = tmp_path / "a.zarr"
    make_zarr(folder, version, "zstd")
    file = folder / (".zarray" if version == 2 else "zarr.json")
    file.write_text(json.dumps(changed_metadata(json.loads(file.read_text()), version, change)))
    with pytest.raises(InputError, match=message) as caught:
        open_volume(folder).read(((0, 1), (0, 1), (0, 1)))
    assert "a.zarr" in sentence(caught)


def changed_metadata(
    record: dict[str, Any], version: int, change: dict[str, Any]
) -> dict[str, Any]:
    kinds = {"|O": "string", "<c16": "complex128", "<M8[ns]": "datetime64"}
    for key, value in change.items():
        if key == "chunks" and version == 3:
            record["chunk_grid"]["configuration"]["chunk_shape"] = value
        elif key == "dtype" and version == 3:
            record["data_type"] = kinds.get(value, value)
        elif key == "codec" and version == 3:
            record["codecs"].append({"name": f"numcodecs.{value}", "configuration": {}})
        elif key == "codec":
            record["filters"] = [{"id": value}]
        else:
            record[key] = value
    return record


def test_metadata_cut_anywhere_are_refused(tmp_path: Path) -> None:
    """At every length of the text."""
    folder = tmp_path / "a.zarr"
    make_zarr(folder, 3, "zstd")
    content = (folder / "zarr.json").read_bytes()
    for length in range(0, len(content) - 1, 7):
        (folder / "zarr.json").write_bytes(content[:length])
        with pytest.raises(InputError) as caught:
            open_volume(folder)
        sentence(caught)


class Unpickled:
    """What would be seen if somebody's pickle were opened."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was opened",))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    """Nor texts, records, dates and complex numbers taken for voxels."""
    np.save(tmp_path / "o.npy", np.array([[[Unpickled()]]], object), allow_pickle=True)
    (tmp_path / "p.npy").write_bytes(pickle.dumps(VOXELS))
    for data, name in (
        (np.zeros(SHAPE, "c16"), "c"),
        (np.zeros(SHAPE, "U3"), "u"),
        (np.zeros(SHAPE, [("a", "u1"), ("b", "f4")]), "r"),
        (np.zeros(SHAPE, "M8[s]"), "m"),
        (np.zeros(SHAPE, np.longdouble), "g"),
    ):
        np.save(tmp_path / f"{name}.npy", data)
    for path in sorted(tmp_path.glob("*.npy")):
        with pytest.raises(InputError, match=path.name) as caught:
            open_volume(path)
        sentence(caught)


@pytest.mark.parametrize("shape", [(0, 4, 4), (4,), (), (1, 2, 3, 4, 5, 6)])
def test_shapes_of_no_volume_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """No voxels along an axis, too few axes, too many."""
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("v", data=np.zeros(shape, np.uint8))
    for address in (f"{tmp_path / 'a.npy'}", f"{tmp_path / 'a.h5'}:/v"):
        with pytest.raises(InputError, match="a.npy" if "npy" in address else "a.h5") as caught:
            open_volume(address)
        sentence(caught)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_number_are_refused_where_they_are(tmp_path: Path, value: float) -> None:
    """The box that has them, which the sentence names; others are read."""
    data = np.ones(SHAPE, np.float32)
    data[5, 2:4, 3] = value
    np.save(tmp_path / "a.npy", data)
    volume = open_volume(tmp_path / "a.npy")
    assert volume.read(((0, 5), (0, 8), (0, 10))).all()
    with pytest.raises(ContentError, match="2 of 480 voxels are NaN or infinite") as caught:
        volume.read()
    assert "a.npy, z 0:6, y 0:8, x 0:10" in sentence(caught)


def test_pages_that_are_no_planes_of_one_volume_are_refused(tmp_path: Path) -> None:
    """Another size or type, colours, planes of several channels."""
    with tifffile.TiffWriter(tmp_path / "size.tif") as file:
        file.write(VOXELS[0], contiguous=False)
        file.write(VOXELS[0, 1:], contiguous=False)
    with tifffile.TiffWriter(tmp_path / "type.tif") as file:
        file.write(VOXELS[0], contiguous=False)
        file.write(VOXELS[0].astype(np.uint16), contiguous=False)
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((4, 8, 8, 3), np.uint8), photometric="rgb")
    many = np.zeros((2, 3, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "many.tif", many, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "many.ome.tif", many, metadata={"axes": "CZYX"})
    for name in ("size.tif", "type.tif", "rgb.tif", "many.tif", "many.ome.tif"):
        with pytest.raises(ContentError, match=name) as caught:
            open_volume(tmp_path / name)
        sentence(caught)


def test_a_picture_in_colour_is_refused(tmp_path: Path) -> None:
    """Which of its channels is the volume nobody can say."""
    Picture.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(tmp_path / "c.png")
    with pytest.raises(ContentError, match="colour"):
        open_volume(tmp_path / "c.png")


def test_hdf5_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    """Virtual datasets, external bytes and links would read files that nobody named."""
    with h5py.File(tmp_path / "real.h5", "w") as file:
        file["v"] = VOXELS
    with h5py.File(tmp_path / "a.h5", "w") as file:
        layout = h5py.VirtualLayout(SHAPE, "u1")
        layout[:] = h5py.VirtualSource(tmp_path / "real.h5", "v", SHAPE)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("bytes", SHAPE, "u1", external=[(tmp_path / "raw", 0, 480)])
        file["link"] = h5py.ExternalLink(str(tmp_path / "real.h5"), "v")
    for name in ("virtual", "bytes", "link"):
        with pytest.raises(ContentError, match=f"a.h5:/{name}") as caught:
            open_volume(f"{tmp_path / 'a.h5'}:/{name}")
        sentence(caught)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x01\x02\x03 nothing that is known", "none of them"),
        (b"", "empty"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 200, "could not be read"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "could not be read"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 64, "could not be read"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """By what it holds, whatever its name."""
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(UnreadableFileError, match=message) as caught:
        open_volume(tmp_path / "a.tif")
    sentence(caught)


def test_a_file_that_vanishes_is_said_to_be_missing(tmp_path: Path) -> None:
    """Between opening and reading."""
    for kind in ("npy", "tif", "h5"):
        path = save(tmp_path, kind)
        volume = open_volume(path)
        path.unlink()
        with pytest.raises(InputError, match=path.name) as caught:
            volume.read()
        sentence(caught)
    make_zarr(tmp_path / "z.zarr", 3, "zstd")
    volume = open_volume(tmp_path / "z.zarr")
    shutil.rmtree(tmp_path / "z.zarr")
    with pytest.raises(UnreadableFileError, match="stored pieces"):
        volume.read(complete=True)
