# SPDX-License-Identifier: Apache-2.0
"""Maps of models of regions lie on the voxels of a tile, where what decided its region is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from encephalon import api
from encephalon.errors import UsageError
from encephalon.explanation.report import Explanations
from encephalon.explanation.run import explain
from encephalon.io.text import read_records, write_records
from encephalon.io.volumes.opening import open_volume
from encephalon.io.volumes.writing import create_ome_zarr
from encephalon.studies.microtomography.settings import (
    Intensity,
    MicrotomographySettings,
    PredictOptions,
)
from encephalon.studies.microtomography.study import STUDY
from encephalon.tables.samples import Sample
from encephalon.tables.schema import Columns
from tests.studies.microtomography.tiny_tiles import QUICK, write_table

torch = pytest.importorskip("torch")

#: Of a tile with one bright cube: its sides, the middle of the cube, half of the cube's side.
SIDES, MIDDLE, HALF = (24, 32, 40), (8, 8, 24), 4
#: What a cell of the hand-made network gives where the cube fills what it sees.
ANSWER = 0.5


def planted() -> NDArray[np.uint8]:
    """A black tile (z, y, x) with one bright cube."""
    tile = np.zeros(SIDES, np.uint8)
    tile[tuple(slice(at - HALF, at + HALF + 1) for at in MIDDLE)] = 255
    return tile


def by_hand(dims: int) -> Any:
    """Two channels, bright and dark, each for a class; a cell sees nine voxels along each axis.

    Half of them must be bright before the first channel says anything.
    """
    conv: Any = (torch.nn.Conv2d, torch.nn.Conv3d)[dims - 2](1, 2, 9, stride=8, padding=4)

    class Encoder(torch.nn.Module):
        channels, strides = (1, 2), (1, 8)

        def __init__(self) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, tile: Any) -> list[Any]:
            return [tile, self.conv(tile).relu()]

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Encoder()
            self.head = torch.nn.Linear(2, 2, bias=False)

        def forward(self, tile: Any) -> Any:
            return self.head(self.encoder(tile)[-1].flatten(2).mean(dim=2))

    with torch.no_grad():
        conv.weight[0], conv.weight[1] = 1 / 9**dims, -1 / 9**dims
        conv.bias[:] = torch.tensor([ANSWER - 1, 0.0])
        network = Network().eval()
        network.head.weight[:] = torch.tensor([[0.0, 40.0], [200.0, 0.0]])
    return network


def model(dims: int) -> Any:
    """A loaded model of that network, for tiles of one slice or of several."""
    from encephalon.networks.torch_runtime import TorchRuntime
    from encephalon.studies.microtomography.predictor import TilePredictor

    network = by_hand(dims)
    intensity = Intensity(window=(0, 255), mean=0, std=1)
    predictor = TilePredictor(
        model={"name": "by-hand", "version": "1.0.0"},
        runtime=TorchRuntime(network, "cpu", 1),
        options=PredictOptions(),
        settings=MicrotomographySettings(intensity=intensity),
        classes=("dark", "bright"),
        depth=0 if dims == 2 else 8,
        trained={},
        again=lambda: predictor,
        torch_network=lambda: network,
    )
    columns = Columns(target="region", target_kind=("dark", "bright"))
    return SimpleNamespace(predictor=predictor, columns=columns, name="by-hand")


def explained(made: Any, samples: list[Sample], output: Path, **how: Any) -> Explanations:
    """As `api.explain` does with a loaded model."""
    assert STUDY.explainable is not None
    return explain(STUDY.explainable(made), samples, output, device="cpu", **how)


def tents(dims: int) -> NDArray[np.float64]:
    """One at the middle of the cube, and none at the cells around, which are eight voxels away."""
    tent: Any = np.ones(())
    for side, at in list(zip(SIDES, MIDDLE, strict=True))[-dims:]:
        tent = np.multiply.outer(tent, np.maximum(0, 1 - abs(np.arange(side) - at) / 8))
    return np.asarray(tent)


def write_tile(path: Path, tile: NDArray[Any]) -> Path:
    """An OME-Zarr of that tile."""
    with create_ome_zarr(path, tile.shape, tile.dtype) as writer:
        writer.write(tile)
    return path


@pytest.mark.parametrize("dims", [2, 3])
def test_the_map_of_a_known_answer_is_the_one_computed_by_hand(dims: int, tmp_path: Path) -> None:
    """One cell of the last map is not zero; its place in the tile is that of what decided."""
    place = write_tile(tmp_path / "box.ome.zarr", planted())
    first, size = ((0, 0, 0), SIDES) if dims == 3 else ((MIDDLE[0], 0, 0), (1, *SIDES[1:]))
    row: dict[str, Any] = dict(zip(("first_z", "first_y", "first_x"), first, strict=True))
    row |= dict(zip(("size_z", "size_y", "size_x"), size, strict=True))
    result = explained(model(dims), [Sample("a", {"image": place}, row)], tmp_path / "out")
    (found,) = result.rows
    said = [found[name] for name in ("class", "predicted", "certainty")]
    assert said == ["bright", "bright", "certain_bright"]
    values = tifffile.imread(tmp_path / "out" / found["map"])
    np.testing.assert_allclose(values, tents(dims), atol=1e-6)
    cells = np.prod([side // 8 for side in SIDES[-dims:]])
    assert found["peak"] == pytest.approx(ANSWER * 200 / cells, rel=1e-5)
    assert found.get("slice") == {2: None, 3: MIDDLE[0]}[dims]


def test_pictures_of_a_volume_are_of_the_slice_where_its_map_is_highest(tmp_path: Path) -> None:
    place = write_tile(tmp_path / "tile.ome.zarr", planted())
    explained(model(3), [Sample("tile", {"image": place})], tmp_path / "out")
    with Image.open(tmp_path / "out" / "original_images" / "tile.png") as shown:
        assert shown.size == (512, 410)
        pixels = np.asarray(shown)
    scale = 512 / SIDES[2]
    assert pixels[int(MIDDLE[1] * scale), int(MIDDLE[2] * scale)] == 255
    assert pixels[int(20 * scale), int(4 * scale)] == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"<dt>Slice, from 0</dt><dd>{MIDDLE[0]}</dd>" in page
    assert "Of a volume the slice with that place is shown" in page


def test_what_speaks_for_another_class_is_another_map(tmp_path: Path) -> None:
    """Of the dark channel nothing is left where all is black: the map is empty, and no NaN."""
    place = write_tile(tmp_path / "tile.ome.zarr", planted())
    sample = Sample("tile", {"image": place})
    (row,) = explained(model(3), [sample], tmp_path / "out", target_class="dark").rows
    assert (row["class"], row["predicted"], row["peak"]) == ("dark", "bright", 0)
    assert row["slice"] == SIDES[0] // 2
    assert not tifffile.imread(tmp_path / "out" / row["map"]).any()


def test_what_cannot_be_explained_fails_alone_and_in_one_sentence(tmp_path: Path) -> None:
    """NaN, several slices, too many pixels, no such file; the picture beside them is done."""
    holes = planted()[0].astype(np.float32)
    holes[3, 4] = np.nan
    np.save(tmp_path / "nan.npy", holes[None])
    write_tile(tmp_path / "several.ome.zarr", planted())
    np.save(tmp_path / "large.npy", np.zeros((1, 2048, 2049), np.uint8))
    Image.fromarray(planted()[MIDDLE[0]]).save(tmp_path / "good.png")
    names = ("nan.npy", "several.ome.zarr", "large.npy", "gone.png", "good.png")
    samples = [Sample(name.partition(".")[0], {"image": tmp_path / name}) for name in names]
    result = explained(model(2), samples, tmp_path / "out")
    said = {one.id: one.message for one in result.failures}
    assert list(said) == ["nan", "several", "large", "gone"]
    for name, words in {
        "nan": "1 of 1,280 voxels are NaN",
        "several": "has 24 slices",
        "large": "(1, 2048, 2049) voxels are too many",
        "gone": "no such file",
    }.items():
        assert words in said[name]
        assert "\n" not in said[name]
    assert [row["id"] for row in result.rows if "error" not in row] == ["good"]


def test_pictures_of_any_size_are_explained_together(tmp_path: Path) -> None:
    """The check of the maps needs no common size."""
    samples = []
    for name, side in (("a", 24), ("b", 40), ("c", 31)):
        Image.fromarray(planted()[MIDDLE[0], :side, :side]).save(tmp_path / f"{name}.png")
        samples.append(Sample(name, {"image": tmp_path / f"{name}.png"}))
    result = explained(model(2), samples, tmp_path / "out")
    assert not result.failures
    assert list(result.sanity) == ["head", "encoder.conv"]
    shapes = [tifffile.imread(tmp_path / "out" / row["map"]).shape for row in result.rows]
    assert shapes == [(24, 24), (32, 40), (31, 31)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of tiles."""
    return write_table(tmp_path_factory.mktemp("tiles"))


def few(table: Path, count: int = 8) -> Path:
    """A table of some of its tiles that test."""
    rows = [row for row in read_records(table)[1] if row["split"] == "test"]
    write_records(rows[:: max(1, len(rows) // count)][:count], table.with_name("few.csv"))
    return table.with_name("few.csv")


@pytest.fixture(scope="module")
def region(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of regions."""
    run = tmp_path_factory.mktemp("region") / "run"
    return train("region-supervised", table, run, QUICK)


def train(recipe: str, table: Path, run: Path, changes: dict[str, str]) -> Path:
    """A quick model on the CPU."""
    return api.train(
        recipe, table, run, overrides=dict(changes), device="cpu", workers=1, threads=1
    )


def test_maps_of_a_trained_model_are_its_class_activation(
    region: Path, table: Path, tmp_path: Path
) -> None:
    """With one layer after the mean, Grad-CAM is what Zhou et al. 2016 weigh maps by."""
    from encephalon.transforms.resize import View

    chosen = few(table)
    result = api.explain(region, chosen, tmp_path / "out", device="cpu")
    assert (result.exit_code, len(result.rows)) == (0, 8)
    loaded: Any = api.load_model(region, device="cpu")
    network = loaded.torch_network()
    for row, cells in zip(result.rows, read_records(chosen)[1], strict=True):
        sample = Sample(row["id"], {"image": table.parent / cells["image"]}, cells)
        with torch.no_grad():
            last = network.encoder(torch.tensor(loaded.predictor.read(sample).image))[-1][0]
        weights = network.head.weight[loaded.predictor.classes.index(row["class"])].detach()
        wanted = (weights[:, None, None] * last).sum(0).relu().numpy() / last[0].numel()
        assert row["peak"] == pytest.approx(wanted.max(), rel=1e-4, abs=1e-7)
        raw = View.whole((32, 32), even=False).to_raw(wanted)
        found = tifffile.imread(tmp_path / "out" / row["map"])
        spread = max(float(np.ptp(raw)), 1e-12)
        np.testing.assert_allclose(found, (raw - raw.min()) / spread, atol=1e-3)
    assert set(result.sanity) >= {"head", "encoder.layer4", "encoder.conv1"}
    assert not result.importance


def test_a_model_of_volumes_is_explained_on_all_of_its_slices(tmp_path: Path) -> None:
    table = write_table(tmp_path / "tiles", (8, 32, 32))
    changes = QUICK | {"network.options.spatial_dims": "3", "training.batch_size": "2"}
    run = train("region-supervised", table, tmp_path / "run", changes)
    result = api.explain(run, few(table, 2), tmp_path / "out", device="cpu")
    assert not result.failures
    for row in result.rows:
        values = tifffile.imread(tmp_path / "out" / row["map"])
        assert values.shape == (8, 32, 32)
        assert 0 <= row["slice"] < 8
        if row["peak"] > 0:
            assert values[row["slice"]].max() == 1
    tile = open_volume(table.parent / "cortex.ome.zarr").read(((0, 8), (0, 32), (0, 32)))
    alone = write_tile(tmp_path / "alone.ome.zarr", tile)
    (row,) = api.explain(run, alone, tmp_path / "alone", device="cpu").rows
    assert tifffile.imread(tmp_path / "alone" / row["map"]).shape == (8, 32, 32)


def test_what_a_model_of_regions_does_not_have_stops_everything(
    region: Path, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no class 'cortx'; did you mean 'cortex'"):
        api.explain(region, few(table), out, target_class="cortx", device="cpu")
    with pytest.raises(UsageError, match=r"no layer 'encoder\.layer5': the nearest are encoder"):
        api.explain(region, few(table), out, layer="encoder.layer5", device="cpu")
    assert not out.exists()


def test_finer_layers_have_finer_maps(region: Path, table: Path, tmp_path: Path) -> None:
    result = api.explain(
        region, few(table, 1), tmp_path / "out", layer="encoder.layer1", device="cpu"
    )
    (row,) = result.rows
    values = tifffile.imread(tmp_path / "out" / row["map"])
    assert values.shape == (32, 32)
    # At every pixel a value of its own, where the last layer has one in eight along each axis.
    assert len(np.unique(values)) > 16 or not values.any()


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("microstructure", QUICK | {"network.options.width": "4"}),
        ("pca", {"study.components": "8"}),
    ],
)
def test_models_of_structures_and_representations_say_what_to_do_instead(
    recipe: str, changes: dict[str, str], table: Path, tmp_path: Path
) -> None:
    made = train(recipe, table, tmp_path / "run", changes)
    with pytest.raises(UsageError, match=f"'{recipe}' tells no region.*region-supervised"):
        api.explain(made, few(table), tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
