# SPDX-License-Identifier: Apache-2.0
"""An OME-Zarr is written whole, with resolutions and labels, as its specification has it."""

from __future__ import annotations

import errno
import json
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import (
    ContentError,
    InputError,
    OutputError,
    OutputExistsError,
    UnreadableFileError,
)
from encephalon.io.volumes.ome_zarr import Label, label_names, labels_of
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.writing import Labels, Version, create_ome_zarr, fill_ome_zarr, halved

SHAPE = (9, 14, 11)
IMAGE = np.random.default_rng(11).integers(0, 255, SHAPE).astype(np.uint8)
REGIONS = (IMAGE // 70).astype(np.uint8)
VALUES = {1: Label("cortex", (255, 200, 0)), 2: Label("striatum"), 3: Label("", (0, 0, 9))}


def write(path: Path, **options: Any) -> Path:
    """Image and regions in chunks that fit nothing, block by block."""
    labels = {"regions": Labels(np.uint8, VALUES)}
    with create_ome_zarr(path, SHAPE, np.uint8, chunks=(4, 5, 6), labels=labels, **options) as new:
        start = options.get("origin", (0, 0, 0))
        for z, y in product(range(0, 9, 4), range(0, 14, 5)):
            box = tuple(
                (a + n, a + min(n + size, most))
                for a, n, size, most in zip(start, (z, y, 0), (4, 5, 11), SHAPE, strict=True)
            )
            part = tuple(slice(a - n, b - n) for (a, b), n in zip(box, start, strict=True))
            new.write(IMAGE[part], box)
            new.write(REGIONS[part], box, label="regions")
        assert not path.exists()
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_was_written_is_read(tmp_path: Path, version: Any) -> None:
    """Voxels, spacing, origin, labels with names and colours, of both versions."""
    spacing, origin = (2.0, 1.17, 0.5), (110, 900, 4600)
    path = write(tmp_path / "a.zarr", version=version, spacing=spacing, origin=origin)
    volume = open_volume(path)
    assert volume.spacing == pytest.approx(spacing)
    assert volume.origin == origin
    np.testing.assert_array_equal(volume.read(complete=True), IMAGE)
    labels = open_volume(f"{path}/labels/regions")
    assert (labels.origin, labels.dtype) == (origin, np.uint8)
    np.testing.assert_array_equal(labels.read(complete=True), REGIONS)
    assert label_names(path) == ["regions"]
    found = labels_of(path / "labels/regions")
    assert found.pop(2).name == "striatum"
    assert found == {1: VALUES[1], 3: VALUES[3]}
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.zarr"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_each_level_halves_the_one_before(tmp_path: Path, version: Any) -> None:
    """Means of the image, most votes of labels, whatever the chunks; spacing and origin follow."""
    path = write(tmp_path / "a.zarr", version=version, spacing=(1.0, 1.0, 1.0), origin=(8, 4, 16))
    image, labels = IMAGE, REGIONS
    levels = open_volume(path).levels
    assert levels == 3
    for level in range(1, levels):
        image, labels = halved(image, (2, 2, 2), "image"), halved(labels, (2, 2, 2), "labels")
        volume = open_volume(path, level=level)
        np.testing.assert_array_equal(volume.read(complete=True), image)
        assert volume.spacing == (2.0**level,) * 3
        assert volume.origin == tuple(n // 2**level for n in (8, 4, 16))
        found = open_volume(f"{path}/labels/regions", level=level).read(complete=True)
        np.testing.assert_array_equal(found, labels)


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["image", "labels"]),
)
def test_halving_is_the_mean_or_the_most_frequent_of_what_is_there(
    shape: tuple[int, int, int], seed: int, kind: Any
) -> None:
    """Against loops over the voxels; at an odd end of those that are left."""
    data = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint16)
    found = halved(data, (2, 2, 2), kind)
    assert found.dtype == np.uint16
    assert found.shape == tuple(-(-n // 2) for n in shape)
    for place in np.ndindex(found.shape):
        part = data[tuple(slice(2 * n, 2 * n + 2) for n in place)].ravel()
        values, counts = np.unique(part, return_counts=True)
        expected = values[counts.argmax()] if kind == "labels" else np.rint(part.mean())
        assert found[place] == expected


def test_means_of_fractions_are_not_rounded() -> None:
    """And keep their type."""
    found = halved(np.array([[[0.5, 1.0]]], np.float32), (2, 2, 2), "image")
    assert found.dtype == np.float32
    assert found.item() == 0.75


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_metadata_are_those_of_the_specification(tmp_path: Path, version: Any) -> None:
    """Where OME has them, with the types, names and order that it asks for."""
    path = write(tmp_path / "a.zarr", version=version, spacing=(2.0, 1.0, 0.5), origin=(1, 0, 2))

    def ome(folder: Path) -> dict[str, Any]:
        if version == "0.4":
            assert json.loads((folder / ".zgroup").read_text()) == {"zarr_format": 2}
            return dict(json.loads((folder / ".zattrs").read_text()))
        record = json.loads((folder / "zarr.json").read_text())
        assert (record["zarr_format"], record["node_type"]) == (3, "group")
        assert record["attributes"]["ome"].pop("version") == "0.5"
        return dict(record["attributes"]["ome"])

    (scales,) = ome(path)["multiscales"]
    assert scales["axes"] == [
        {"name": n, "type": "space", "unit": "micrometer"} for n in ("z", "y", "x")
    ]
    assert scales.get("version") == ("0.4" if version == "0.4" else None)
    assert [one["path"] for one in scales["datasets"]] == ["0", "1", "2"]
    assert scales["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [4.0, 2.0, 1.0]},
        {"type": "translation", "translation": [3.0, 0.5, 1.25]},
    ]
    assert ome(path / "labels") == {"labels": ["regions"]}
    said = ome(path / "labels/regions")["image-label"]
    assert said["source"] == {"image": "../../"}
    assert said["colors"] == [
        {"label-value": 1, "rgba": [255, 200, 0, 255]},
        {"label-value": 2, "rgba": [167, 242, 61, 255]},
        {"label-value": 3, "rgba": [0, 0, 9, 255]},
    ]
    assert said["properties"] == [
        {"label-value": 1, "name": "cortex"},
        {"label-value": 2, "name": "striatum"},
        {"label-value": 3},
    ]
    if version == "0.5":
        assert json.loads((path / "0/zarr.json").read_text())["dimension_names"] == list("zyx")
    else:
        assert json.loads((path / "0/.zarray").read_text())["dimension_separator"] == "/"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_chunk_that_changed_on_the_disk_is_refused(tmp_path: Path, version: Any) -> None:
    """Whichever of its bytes it was: chunks have a checksum."""
    path = tmp_path / "a.zarr"
    with create_ome_zarr(path, SHAPE, np.uint8, version=version) as new:
        new.write(IMAGE)
    chunk = path / ("0/0/0/0" if version == "0.4" else "0/c/0/0/0")
    content = chunk.read_bytes()
    for at in range(0, len(content), 61):
        chunk.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(UnreadableFileError, match=r"a\.zarr, z 0:9, y 0:14, x 0:11"):
            open_volume(path).read()


def test_channels_and_times_come_before_z(tmp_path: Path) -> None:
    """Each volume is written and read by its numbers, and halved by itself."""
    with create_ome_zarr(tmp_path / "a.zarr", (2, 3, 4, 4, 4), "u2", chunks=(2, 2, 2)) as new:
        for t, c in product(range(2), range(3)):
            new.write(np.full((4, 4, 4), 10 * t + c), time=t, channel=c)
    for t, c, level in product(range(2), range(3), range(2)):
        volume = open_volume(tmp_path / "a.zarr", time=t, channel=c, level=level)
        assert (volume.read() == 10 * t + c).all()
        assert volume.shape == (4 // 2**level,) * 3


def test_a_volume_of_labels_alone_is_halved_by_votes(tmp_path: Path) -> None:
    """A predicted mask; what its values stand for is said at its root."""
    path = tmp_path / "mask.zarr"
    with create_ome_zarr(
        path, SHAPE, np.uint8, chunks=(8, 8, 8), kind="labels", values=VALUES
    ) as new:
        new.write(REGIONS)
    expected = halved(REGIONS, (2, 2, 2), "labels")
    np.testing.assert_array_equal(open_volume(path, level=1).read(), expected)
    assert [one.name for one in labels_of(path).values()] == ["cortex", "striatum", ""]


def test_threads_write_blocks_that_meet_at_chunks(tmp_path: Path) -> None:
    """Each block touches chunks of its own."""
    data = np.random.default_rng(0).integers(0, 255, (16, 16, 16)).astype(np.uint8)
    with create_ome_zarr(tmp_path / "a.zarr", data.shape, "u1", chunks=(4, 4, 4)) as new:

        def put(place: tuple[int, ...]) -> None:
            box = tuple((n, n + 4) for n in place)
            new.write(data[tuple(slice(*span) for span in box)], box)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, product(range(0, 16, 4), repeat=3)))
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr").read(complete=True), data)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither a volume nor a part of one."""

    def broken() -> None:
        with create_ome_zarr(tmp_path / "a.zarr", SHAPE, "u1") as new:
            new.write(IMAGE)
            raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_volume(tmp_path: Path) -> None:
    """Nothing has the name, and what has another has no metadata of an image."""
    code = (
        "import os, signal, numpy as np\n"
        "from encephalon.io.volumes.writing import create_ome_zarr\n"
        f"with create_ome_zarr({str(tmp_path / 'a.zarr')!r}, (8, 8, 8), 'u1') as new:\n"
        "    new.write(np.ones((8, 8, 8), 'u1'))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "a.zarr").exists()
    assert not list(tmp_path.glob(".*/zarr.json"))


def test_nothing_is_replaced_unless_that_is_said(tmp_path: Path) -> None:
    """With `overwrite` the old one stays until the new one is whole."""
    path = write(tmp_path / "a.zarr")
    with pytest.raises(OutputExistsError):
        write(path)
    with create_ome_zarr(path, (2, 2, 2), "u1", overwrite=True) as new:
        np.testing.assert_array_equal(open_volume(path).read(), IMAGE)
        new.write(np.ones((2, 2, 2), np.uint8))
    assert open_volume(path).shape == (2, 2, 2)
    assert label_names(path) == []


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_data_that_are_no_zarr_are_never_replaced(tmp_path: Path, version: Version) -> None:
    """A folder of files, and a file, stay as they are; an empty folder may be taken."""
    folder, file, empty = tmp_path / "scans", tmp_path / "scan.zarr", tmp_path / "empty"
    folder.mkdir()
    empty.mkdir()
    for place, kept in ((folder, folder / "scan.nii"), (file, file)):
        kept.write_text("kept")
        with (
            pytest.raises(OutputExistsError, match="holds no OME-Zarr, so it is not replaced"),
            create_ome_zarr(place, (2, 2, 2), "u1", version=version, overwrite=True),
        ):
            raise AssertionError(place)
        assert kept.read_text() == "kept"
    for _ in range(2):  # what was written is one
        with create_ome_zarr(empty, (2, 2, 2), "u1", version=version, overwrite=True) as new:
            new.write(np.ones((2, 2, 2), np.uint8))
    assert open_volume(empty).shape == (2, 2, 2)


def test_boxes_and_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Outside, of another shape, wider than the type; never wrapped around."""
    with create_ome_zarr(
        tmp_path / "a.zarr", (4, 4, 4), "u1", origin=(10, 10, 10), labels={"l": Labels("u1")}
    ) as new:
        one = np.ones((1, 1, 1), np.uint8)
        for box in (((0, 1), (10, 11), (10, 11)), ((13, 15), (10, 11), (10, 11))):
            with pytest.raises(InputError, match=r"inside of z 10:14, y 10:14, x 10:14"):
                new.write(one, box)
        inside = ((10, 11), (10, 11), (10, 11))
        with pytest.raises(InputError, match=r"their shape is \(2, 1, 1\)"):
            new.write(np.ones((2, 1, 1), np.uint8), inside)
        for wide in (one.astype("i2") * 300, one.astype("i8") * -1, one * 0.5):
            with pytest.raises(InputError, match="do not fit into uint8"):
                new.write(wide, inside, label="l")
        with pytest.raises(InputError, match="no labels 'x'"):
            new.write(one, inside, label="x")
        new.write(one.astype("u8") * 255, inside)
    assert open_volume(tmp_path / "a.zarr").read(inside).item() == 255


def test_shapes_types_and_names_of_no_volume_are_refused(tmp_path: Path) -> None:
    """Before anything is made."""
    for shape, dtype in (((4, 4), "u1"), ((0, 4, 4), "u1"), ((4, 4, 4), "O"), ((4, 4, 4), "c8")):
        with (
            pytest.raises((OutputError, ContentError), match=r"a\.zarr"),
            create_ome_zarr(tmp_path / "a.zarr", shape, dtype),
        ):
            pass
    for name in ("", "..", "a/b", ".zattrs"):
        with (
            pytest.raises(OutputError, match="no name for labels"),
            create_ome_zarr(tmp_path / "a.zarr", SHAPE, "u1", labels={name: Labels()}),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with the reason."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with create_ome_zarr(tmp_path / "warm.zarr", (2, 2, 2), "u1") as new:
        new.write(np.ones((2, 2, 2), np.uint8))
    monkeypatch.setattr("zarr.storage._local._put", full)
    with (
        pytest.raises(OutputError, match="the disk is full"),
        create_ome_zarr(tmp_path / "a.zarr", (2, 2, 2), "u1") as new,
    ):
        new.write(np.ones((2, 2, 2), np.uint8))
    assert [one.name for one in tmp_path.iterdir()] == ["warm.zarr"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_was_begun_in_a_folder_goes_on_where_it_stopped(tmp_path: Path, version: Any) -> None:
    """Also in another process; and chunks of zeros are written by whoever goes on, too."""
    begin = partial(fill_ome_zarr, tmp_path / "a.zarr", (8, 8, 8), "u1", chunks=(4, 8, 8))
    begin(version=version).write(np.ones((4, 8, 8), "u1"), ((0, 4), (0, 8), (0, 8)))
    writer = pickle.loads(pickle.dumps(begin(version=version)))
    writer.write(np.zeros((4, 8, 8), "u1"), ((4, 8), (0, 8), (0, 8)))
    begin(version=version).finish()
    begin(version=version).finish()
    found = open_volume(tmp_path / "a.zarr").read(complete=True)
    assert found[:4].all()
    assert not found[4:].any()


def test_a_coarse_grid_lies_in_the_middle_of_what_it_stands_for(tmp_path: Path) -> None:
    writer = fill_ome_zarr(
        tmp_path / "a.zarr", (2, 2, 2), "u1", spacing=(8.0, 8.0, 8.0), offset=(0.4375,) * 3
    )
    writer.finish()
    said = json.loads((tmp_path / "a.zarr/zarr.json").read_text())["attributes"]["ome"]
    _, translation = said["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert translation["translation"] == [3.5] * 3
    assert open_volume(tmp_path / "a.zarr").origin == (0, 0, 0)
