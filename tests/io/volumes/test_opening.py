# SPDX-License-Identifier: Apache-2.0
"""A box of a volume is the same array from every kind of file, and a slice of the whole."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from encephalon.errors import ContentError, InputError, MissingFileError, UnreadableFileError
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.volume import Box, Volume, box_text

SHAPE = (7, 9, 11)
VOXELS = np.random.default_rng(7).integers(0, 60_000, SHAPE).astype(np.uint16)


def save_npy(folder: Path, data: np.ndarray) -> str:
    np.save(folder / "a.npy", data)
    return str(folder / "a.npy")


def save_fortran(folder: Path, data: np.ndarray) -> str:
    np.save(folder / "f.npy", np.asfortranarray(data.astype(data.dtype.newbyteorder(">"))))
    return str(folder / "f.npy")


def tiff_saver(name: str, **options: Any) -> Callable[[Path, np.ndarray], str]:
    def save(folder: Path, data: np.ndarray) -> str:
        tifffile.imwrite(folder / name, data, photometric="minisblack", **options)
        return str(folder / name)

    return save


def hdf5_saver(name: str, **options: Any) -> Callable[[Path, np.ndarray], str]:
    def save(folder: Path, data: np.ndarray) -> str:
        with h5py.File(folder / name, "w") as file:
            file.create_dataset("volumes/raw", data=data, **options)
            file.create_dataset("table", data=np.zeros((3, 2)))
        return f"{folder / name}:/volumes/raw"

    return save


def zarr_saver(name: str, **options: Any) -> Callable[[Path, np.ndarray], str]:
    def save(folder: Path, data: np.ndarray) -> str:
        place = str(folder / name)
        zarr.create_array(place, shape=data.shape, dtype=data.dtype, **options)[:] = data
        return place

    return save


SAVERS: dict[str, Callable[[Path, np.ndarray], str]] = {
    "npy": save_npy,
    "npy, Fortran order, big endian": save_fortran,
    "TIFF": tiff_saver("a.tif"),
    "TIFF, big endian": tiff_saver("g.tif", byteorder=">"),
    "TIFF, one directory for all planes": tiff_saver("h.tif", truncate=True),
    "BigTIFF, deflate": tiff_saver("b.tif", bigtiff=True, compression="zlib"),
    "TIFF, big endian, LZW, predictor": tiff_saver(
        "c.tif", byteorder=">", compression="lzw", predictor=True
    ),
    "BigTIFF, tiles, zstd": tiff_saver("d.tif", bigtiff=True, compression="zstd", tile=(16, 16)),
    "TIFF of ImageJ": tiff_saver("e.tif", imagej=True, metadata={"axes": "ZYX"}),
    "OME-TIFF": tiff_saver("f.ome.tif", metadata={"axes": "ZYX"}),
    "HDF5": hdf5_saver("a.h5"),
    "HDF5, chunks, gzip": hdf5_saver("b.hdf5", chunks=(2, 4, 5), compression="gzip"),
    "Zarr 2": zarr_saver("a.zarr", zarr_format=2, chunks=(3, 4, 5)),
    "Zarr 3": zarr_saver("b.zarr", zarr_format=3, chunks=(3, 4, 5)),
    "Zarr 3, shards": zarr_saver("c.zarr", zarr_format=3, chunks=(2, 2, 2), shards=(4, 4, 4)),
}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Volume]:
    """The same voxels in every kind of file."""
    folder = tmp_path_factory.mktemp("volumes")
    return {name: open_volume(save(folder, VOXELS)) for name, save in SAVERS.items()}


def boxes() -> st.SearchStrategy[Box]:
    spans = [
        st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda span: span[0] < span[1])
        for n in SHAPE
    ]
    return st.tuples(*spans)


def slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(*span) for span in box)


@given(box=boxes(), kind=st.sampled_from(sorted(SAVERS)))
def test_a_box_of_any_kind_of_file_is_the_slice_of_the_array(
    volumes: dict[str, Volume], box: Box, kind: str
) -> None:
    """Whatever the layout, order of bytes and compression."""
    found = volumes[kind].read(box, complete=True)
    np.testing.assert_array_equal(found, VOXELS[slices(box)])
    assert found.dtype == np.uint16
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize("kind", sorted(SAVERS))
def test_shape_type_and_whole_are_those_of_the_array(volumes: dict[str, Volume], kind: str) -> None:
    """Nothing says where the volume lies, so that it begins at 0; without a box all is read."""
    volume = volumes[kind]
    assert (volume.shape, volume.dtype, volume.origin) == (SHAPE, np.uint16, (0, 0, 0))
    assert volume.box == ((0, 7), (0, 9), (0, 11))
    assert (volume.level, volume.levels) == (0, 1)
    np.testing.assert_array_equal(volume.read(), VOXELS)
    assert volume.missing() == 0


@pytest.mark.parametrize("kind", sorted(SAVERS))
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_other_processes_read_the_same(volumes: dict[str, Volume], kind: str, start: str) -> None:
    """Workers that load tiles get the volume pickled, or find it in the memory they inherit."""
    volume = volumes[kind]
    volume.read(((0, 1), (0, 1), (0, 1)))
    if start == "spawn":
        copy = pickle.loads(pickle.dumps(volume))
        np.testing.assert_array_equal(copy.read(), VOXELS)
        return
    with get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(volume.read), VOXELS)


@pytest.mark.parametrize(
    "box",
    [
        ((0, 8), (0, 9), (0, 11)),
        ((-1, 2), (0, 9), (0, 11)),
        ((0, 7), (9, 10), (0, 11)),
    ],
)
def test_a_box_that_is_not_inside_is_refused_by_name(volumes: dict[str, Volume], box: Box) -> None:
    """The sentence has the file, the box and what there is, and no voxel is made up."""
    with pytest.raises(InputError, match="not inside the volume") as caught:
        volumes["Zarr 3"].read(box)
    assert "b.zarr" in str(caught.value)
    assert box_text(box) in str(caught.value)
    assert "z 0:7, y 0:9, x 0:11" in str(caught.value)


@pytest.mark.parametrize("box", [((3, 3), (0, 9), (0, 11)), ((5, 2), (0, 9), (0, 11))])
def test_an_empty_box_is_refused(volumes: dict[str, Volume], box: Box) -> None:
    """A start that is not before its stop is most often a mistake."""
    with pytest.raises(InputError, match="is empty"):
        volumes["npy"].read(box)


@pytest.mark.parametrize("box", [(1, 2, 3), ((0, 1), (0, 1)), ((0, 1.5), (0, 1), (0, 1)), "box"])
def test_what_is_no_box_is_refused(volumes: dict[str, Volume], box: Any) -> None:
    """Three ranges of whole numbers, and nothing else."""
    with pytest.raises(InputError, match="three ranges"):
        volumes["npy"].read(box)


@pytest.mark.parametrize("save", [save_npy, zarr_saver("t.zarr"), hdf5_saver("t.h5")])
def test_channels_and_times_come_before_z_and_are_chosen(tmp_path: Path, save: Any) -> None:
    """([t,] [c,] z, y, x); where there is one there is no choice to make."""
    data = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.int32).reshape(2, 3, 4, 5, 6)
    address = save(tmp_path, data)
    volume = open_volume(address, channel=1, time=1)
    np.testing.assert_array_equal(volume.read(), data[1, 1])
    assert "channel 1" in volume.name
    with pytest.raises(ContentError, match="expected one channel, but there are 3"):
        open_volume(address, time=1)
    with pytest.raises(ContentError, match="channel 3 was asked for"):
        open_volume(address, time=1, channel=3)
    (tmp_path / "one").mkdir()
    np.testing.assert_array_equal(
        open_volume(save(tmp_path / "one", data[:1, :1])).read(), data[0, 0]
    )


def test_a_channel_that_is_no_axis_is_refused(volumes: dict[str, Volume], tmp_path: Path) -> None:
    """Channel 0 of a volume without channels is the volume."""
    address = save_npy(tmp_path, VOXELS)
    np.testing.assert_array_equal(open_volume(address, channel=0).read(), VOXELS)
    with pytest.raises(ContentError, match="there is no such axis"):
        open_volume(address, channel=1)


@pytest.mark.parametrize(
    "save", [save_npy, tiff_saver("p.tif"), zarr_saver("p.zarr"), hdf5_saver("p.h5")]
)
def test_a_plane_is_a_volume_of_depth_one(tmp_path: Path, save: Any) -> None:
    """Two axes are y and x."""
    volume = open_volume(save(tmp_path, VOXELS[0]))
    assert volume.shape == (1, 9, 11)
    np.testing.assert_array_equal(volume.read(((0, 1), (2, 5), (0, 4))), VOXELS[:1, 2:5, :4])


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_is_a_volume_of_depth_one(tmp_path: Path, suffix: str) -> None:
    """Its grey levels, as micrographs have them."""
    data = np.full((12, 10), 90, np.uint8)
    Picture.fromarray(data).save(tmp_path / f"a.{suffix}")
    volume = open_volume(tmp_path / f"a.{suffix}")
    assert volume.shape == (1, 12, 10)
    np.testing.assert_array_equal(volume.read(((0, 1), (3, 7), (0, 10))), data[None, 3:7])


def test_truth_values_become_0_and_1(tmp_path: Path) -> None:
    """A mask is uint8 in every kind of file."""
    data = VOXELS > 30_000
    for save in (save_npy, zarr_saver("m.zarr"), hdf5_saver("m.h5"), tiff_saver("m.tif")):
        volume = open_volume(save(tmp_path, data))
        assert volume.dtype == np.uint8
        np.testing.assert_array_equal(volume.read(), data)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_bright_in_a_tiff_whatever_its_tag_says(
    tmp_path: Path, compression: str | None
) -> None:
    """As in one page: "white is zero" stores the negative."""
    data = VOXELS.astype(np.uint8)
    tifffile.imwrite(tmp_path / "w.tif", data, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(open_volume(tmp_path / "w.tif").read(), 255 - data)


def test_the_spacing_comes_from_what_the_file_says(tmp_path: Path) -> None:
    """ImageJ and OME in their units, HDF5 by the attribute of Fiji; in µm along z, y, x."""
    tifffile.imwrite(
        tmp_path / "i.tif",
        VOXELS,
        imagej=True,
        resolution=(2, 4),
        metadata={"axes": "ZYX", "spacing": 3.0, "unit": "um"},
    )
    assert open_volume(tmp_path / "i.tif").spacing == pytest.approx((3.0, 0.25, 0.5))
    sizes = {"PhysicalSizeX": 500, "PhysicalSizeY": 250, "PhysicalSizeZ": 2000}
    units = {f"{key}Unit": "nm" for key in sizes}
    tifffile.imwrite(tmp_path / "o.ome.tif", VOXELS, metadata={"axes": "ZYX", **sizes, **units})
    assert open_volume(tmp_path / "o.ome.tif").spacing == pytest.approx((2.0, 0.25, 0.5))
    address = hdf5_saver("s.h5")(tmp_path, VOXELS)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["volumes/raw"].attrs["element_size_um"] = (2.0, 1.0, 0.5)
    assert open_volume(address).spacing == (2.0, 1.0, 0.5)


def test_the_only_dataset_of_three_axes_needs_no_name(tmp_path: Path) -> None:
    """Of several one must be named, and the sentence says which there are."""
    hdf5_saver("one.h5")(tmp_path, VOXELS)
    np.testing.assert_array_equal(open_volume(tmp_path / "one.h5").read(), VOXELS)
    with h5py.File(tmp_path / "one.h5", "r+") as file:
        file["labels"] = VOXELS
    with pytest.raises(ContentError, match=r"'labels', 'volumes/raw'; name one, as in one.h5:/"):
        open_volume(tmp_path / "one.h5")
    with pytest.raises(ContentError, match="there is no such dataset"):
        open_volume(f"{tmp_path / 'one.h5'}:/nothing")
    with pytest.raises(ContentError, match="there is no such dataset"):
        open_volume(f"{tmp_path / 'one.h5'}:/volumes")


def test_hdf5_chunks_that_were_never_written_are_counted(tmp_path: Path) -> None:
    """They read as the filling, unless a whole box is asked for."""
    with h5py.File(tmp_path / "h.h5", "w") as file:
        made = file.create_dataset("v", (4, 4, 4), "u1", chunks=(2, 2, 2), fillvalue=9)
        made[:2, :2, :] = 1
    volume = open_volume(tmp_path / "h.h5")
    assert volume.missing() == 6
    assert volume.missing(((0, 2), (0, 3), (0, 4))) == 2
    assert volume.read()[3, 3, 3] == 9
    with pytest.raises(UnreadableFileError, match=r"h\.h5:/v, z 0:4.*6 of the stored pieces"):
        volume.read(complete=True)


def test_a_level_of_a_file_with_one_resolution_is_refused(tmp_path: Path) -> None:
    """Level 0 is the only one."""
    with pytest.raises(UnreadableFileError, match="level 1 was asked for"):
        open_volume(save_npy(tmp_path, VOXELS), level=1)
    with pytest.raises(ContentError, match="level 2 was asked for"):
        open_volume(zarr_saver("l.zarr")(tmp_path, VOXELS), level=2)


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    """A file, a folder that is no Zarr, a dataset's file."""
    for name in ("no.npy", "no.zarr", "no.h5:/a", "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(MissingFileError, match=name.split(":")[0]):
            open_volume(f"{tmp_path}/{name}")
