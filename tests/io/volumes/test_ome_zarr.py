# SPDX-License-Identifier: Apache-2.0
"""OME-Zarr of other writers: axes, units, scales and translations, and what contradicts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from encephalon.errors import ContentError, InputError, MissingFileError, UnreadableFileError
from encephalon.io.volumes.ome_zarr import Label, label_names, labels_of
from encephalon.io.volumes.opening import open_volume

VOXELS = np.random.default_rng(5).integers(0, 255, (8, 10, 12)).astype(np.uint8)
AXES = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]


def step(kind: str, *values: float) -> dict[str, Any]:
    return {"type": kind, kind: list(values)}


def dataset(path: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"path": path, "coordinateTransformations": list(steps)}


def image(axes: Any = None, datasets: Any = None, **more: Any) -> dict[str, Any]:
    found = [dataset("0", step("scale", 2, 1, 0.5))] if datasets is None else datasets
    return {"multiscales": [{"axes": AXES if axes is None else axes, "datasets": found, **more}]}


def write(
    folder: Path, arrays: dict[str, np.ndarray], content: dict[str, Any], version: str = "0.5"
) -> Path:
    """A group with these arrays, and the metadata as they are given."""
    for path, data in arrays.items():
        zarr.create_array(
            str(folder / path),
            shape=data.shape,
            chunks=(4,) * data.ndim,
            dtype=data.dtype,
            zarr_format=3 if version == "0.5" else 2,
        )[:] = data
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.5":
        attributes = {"ome": {"version": "0.5", **content}}
        record = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / "zarr.json").write_text(json.dumps(record))
    else:
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_spacing_and_origin_come_from_scale_and_translation(tmp_path: Path, version: str) -> None:
    """Edges in µm, whatever their unit, and the first voxel in voxels."""
    axes = [
        {"name": "z", "type": "space", "unit": "nanometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "millimeter"},
    ]
    steps = [step("scale", 500, 2, 0.001), step("translation", 5000, -6, 0.007)]
    write(tmp_path / "a.zarr", {"0": VOXELS}, image(axes, [dataset("0", *steps)]), version)
    volume = open_volume(tmp_path / "a.zarr")
    assert volume.spacing == pytest.approx((0.5, 2.0, 1.0))
    assert volume.origin == (10, -3, 7)
    assert volume.box == ((10, 18), (-3, 7), (7, 19))
    np.testing.assert_array_equal(volume.read(((11, 13), (-3, 0), (8, 19))), VOXELS[1:3, :3, 1:])


def test_transformations_of_all_resolutions_come_after_their_own(tmp_path: Path) -> None:
    """As the specification says: of the dataset first, then of the multiscale."""
    own = [step("scale", 1, 1, 1), step("translation", 2, 2, 2)]
    common = [step("scale", 3, 3, 3), step("translation", 3, 0, 0)]
    content = image(datasets=[dataset("0", *own)], coordinateTransformations=common)
    volume = open_volume(write(tmp_path / "a.zarr", {"0": VOXELS}, content))
    assert volume.spacing == (3.0, 3.0, 3.0)
    assert volume.origin == (3, 2, 2)


def test_without_units_the_spacing_is_unknown(tmp_path: Path) -> None:
    """A scale of 1 is most often a scale that nobody knew."""
    axes = [{"name": n, "type": "space"} for n in "zyx"]
    assert open_volume(write(tmp_path / "a.zarr", {"0": VOXELS}, image(axes))).spacing is None


def test_levels_are_chosen_by_number(tmp_path: Path) -> None:
    """Each has its own shape, spacing and origin; a coarse voxel lies between its fine ones."""
    half = VOXELS[::2, ::2, ::2]
    datasets = [
        dataset("fine", step("scale", 1, 1, 1), step("translation", 8, 4, 0)),
        dataset("coarse/one", step("scale", 2, 2, 2), step("translation", 8.5, 4.5, 0.5)),
    ]
    arrays = {"fine": VOXELS, "coarse/one": half}
    write(tmp_path / "a.zarr", arrays, image(datasets=datasets))
    volume = open_volume(tmp_path / "a.zarr", level=1)
    assert (volume.level, volume.levels, volume.shape) == (1, 2, (4, 5, 6))
    assert volume.spacing == (2.0, 2.0, 2.0)
    assert volume.origin == (4, 2, 0)
    np.testing.assert_array_equal(volume.read(), half)
    with pytest.raises(ContentError, match=r"level 2 was asked for, but there are 2"):
        open_volume(tmp_path / "a.zarr", level=2)


@pytest.mark.parametrize("order", ["czyx", "tczyx", "tzyx"])
def test_channels_and_times_are_chosen(tmp_path: Path, order: str) -> None:
    """By number from 0, and by nobody where there is one."""
    lead = order[:-3]
    data = np.stack([VOXELS, VOXELS + 1, VOXELS + 2])
    data = data[None] if len(lead) == 2 else data
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": n, "type": kinds[n]} for n in lead] + AXES
    datasets = [dataset("0", step("scale", *[1.0] * len(lead), 1, 1, 1))]
    write(tmp_path / "a.zarr", {"0": data}, image(axes, datasets))
    chosen = {"channel" if "c" in lead else "time": 2}
    np.testing.assert_array_equal(open_volume(tmp_path / "a.zarr", **chosen).read(), VOXELS + 2)
    with pytest.raises(ContentError, match="there are 3; choose one"):
        open_volume(tmp_path / "a.zarr")


def test_a_single_resolution_is_an_array_of_its_own(tmp_path: Path) -> None:
    """Its path below the group names it, without spacing."""
    write(tmp_path / "a.zarr", {"0": VOXELS}, image())
    volume = open_volume(tmp_path / "a.zarr" / "0")
    assert volume.spacing is None
    np.testing.assert_array_equal(volume.read(), VOXELS)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_lie_below_and_say_what_they_mean(tmp_path: Path, version: str) -> None:
    """Names and colours of values; labels that are not there are told from those that are."""
    folder = write(tmp_path / "a.zarr", {"0": VOXELS}, image(), version)
    write(folder / "labels", {}, {"labels": ["cells", "vessels"]}, version)
    said = {
        "colors": [{"label-value": 1, "rgba": [255, 0, 10, 255]}, {"label-value": 3}],
        "properties": [{"label-value": 1, "name": "cell"}, {"label-value": 2, "area": 7}],
    }
    write(folder / "labels/cells", {"0": VOXELS // 80}, image() | {"image-label": said}, version)
    np.testing.assert_array_equal(open_volume(f"{folder}/labels/cells").read(), VOXELS // 80)
    assert label_names(folder) == ["cells", "vessels"]
    assert label_names(folder / "0") == []
    assert labels_of(folder / "labels/cells") == {
        1: Label("cell", (255, 0, 10)),
        2: Label(),
        3: Label(),
    }
    assert labels_of(folder) == {}
    with pytest.raises(MissingFileError, match="the labels are 'cells', 'vessels'"):
        open_volume(f"{folder}/labels/axons")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (image(datasets=[dataset("0", step("scale", 1, 1))]), "2 numbers for 3 axes"),
        (image(datasets=[dataset("0", step("scale", 1, 1, 0))]), "a scale is not above 0"),
        (image(datasets=[dataset("0", step("scale", 1, 1, float("inf")))]), "scale"),
        (image(datasets=[dataset("0", step("translation", 1, 1, 1))]), "has no scale"),
        (image(datasets=[dataset("0", step("affine", 1, 1, 1))]), "of the kind 'affine'"),
        (image(datasets=[dataset("0", {"type": "scale", "path": "s"})]), "'scale' is missing"),
        (image(datasets=[{"path": "0"}]), "'coordinateTransformations' is missing"),
        (image(datasets=[]), "there are no datasets"),
        (image(datasets={"0": 1}), "multiscales contradict"),
        ({"multiscales": []}, "multiscales contradict"),
        ({"multiscales": [{"datasets": []}]}, "'axes' is missing"),
        ({"multiscales": "0"}, "multiscales contradict"),
        (image(datasets=[dataset("1", step("scale", 1, 1, 1))]), "no such array"),
        (image(datasets=[dataset("../b", step("scale", 1, 1, 1))]), "no such array"),
        (image(datasets=[dataset("/etc", step("scale", 1, 1, 1))]), "no such array"),
        (image(AXES[::-1]), r"\(\[t,\] \[c,\] z, y, x\), but they are x, y, z"),
        (image([*AXES, {"name": "c"}], [dataset("0", step("scale", 1, 1, 1, 1))]), "z, y, x, c"),
        (image([{"name": "q"}] * 3), "q, q, q"),
        (
            image([{"name": "c"}, *AXES], [dataset("0", step("scale", 1, 1, 1, 1))]),
            "say 4 axes",
        ),
        ({"plate": {}}, "expected an array or the resolutions of an image"),
        ({"multiscales": [{"axes": "zyx"}]}, "'datasets' is missing"),
    ],
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_metadata_that_contradict_are_refused_by_name(
    tmp_path: Path, version: str, content: dict[str, Any], message: str
) -> None:
    """One sentence; nothing is guessed, and nothing outside the group is opened."""
    write(tmp_path / "b", {"0": VOXELS}, image(), version)
    folder = write(tmp_path / "a.zarr", {"0": VOXELS}, content, version)
    with pytest.raises(InputError, match=message) as caught:
        open_volume(folder)
    assert "a.zarr" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 5, 5), (4, 7, 6), (8, 10, 12)])
def test_a_level_that_its_scale_does_not_explain_is_refused(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    """A rounded half is half; anything else means that boxes of one are no boxes of the other."""
    datasets = [dataset(str(n), step("scale", 2**n, 2**n, 2**n)) for n in range(2)]
    arrays = {"0": VOXELS, "1": np.zeros(shape, np.uint8)}
    folder = write(tmp_path / "a.zarr", arrays, image(datasets=datasets))
    assert open_volume(folder).levels == 2
    with pytest.raises(ContentError, match=r"level 1 should have the shape \(4, 5, 6\)"):
        open_volume(folder, level=1)


def test_attributes_that_are_no_table_are_refused(tmp_path: Path) -> None:
    """Whatever took the place of the metadata."""
    folder = write(tmp_path / "a.zarr", {"0": VOXELS}, {}, "0.4")
    for text in ("[]", "7", "{", '"ome"', '{"ome": 3}', '{"multiscales": {"a": 1}}'):
        (folder / ".zattrs").write_text(text)
        with pytest.raises(InputError, match=r"a\.zarr"):
            open_volume(folder)
    for text in ("[]", '{"attributes": []}', '{"attributes": {"ome": []}}'):
        (folder / "zarr.json").write_text(text)
        with pytest.raises(InputError, match=r"a\.zarr"):
            open_volume(folder)


def test_label_metadata_without_sense_are_refused(tmp_path: Path) -> None:
    """A value that is no number, a colour of one part."""
    for said in ({"colors": [{"label-value": "x"}]}, {"colors": [{"label-value": 1, "rgba": [1]}]}):
        folder = write(tmp_path / "a.zarr", {}, {"image-label": said})
        with pytest.raises(UnreadableFileError, match="image-label"):
            labels_of(folder)
