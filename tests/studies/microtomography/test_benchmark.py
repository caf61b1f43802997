# SPDX-License-Identifier: Apache-2.0
"""Benchmarks as data: the published boxes and counts, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from encephalon.errors import RecipeError
from encephalon.studies.microtomography.benchmark import (
    Benchmark,
    LabelMap,
    list_benchmarks,
    load_benchmark,
)

SMALL = """
name = "small"
[channels]
image = "image.npy"
[boxes]
a = { z = [0, 20], y = [0, 10], x = [0, 10] }
b = { z = [0, 20], y = [0, 10], x = [10, 20] }
[splits]
gap = 2
train = [{ z = [0, 8] }]
test = [{ z = [10, 20] }]
[tiles]
size = [1, 5, 5]
"""


def written(folder: Path, text: str, name: str = "small.toml") -> Path:
    """A benchmark file."""
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("mtneuro-regions-published", (1076, 116, 200)),
        ("mtneuro-structures-2d-3-published", (1076, 116, 200)),
        ("mtneuro-structures-2d-4-published", (807, 87, 150)),
        ("mtneuro-structures-3d-3-published", (136, 16, 28)),
        ("mtneuro-structures-3d-4-published", (102, 12, 21)),
        ("mtneuro-readout-published", (0, 0, 5760)),
    ],
)
def test_published_benchmarks_have_the_published_numbers_of_tiles(
    name: str, counts: tuple[int, int, int]
) -> None:
    found = Counter(tile.split for tile in load_benchmark(name).tiles_of())
    assert (found["train"], found["validation"], found["test"]) == counts


def test_published_boxes_are_those_of_the_paper() -> None:
    boxes = load_benchmark("mtneuro").boxes
    assert {name: (box.x, box.y) for name, box in boxes.items()} == {
        "cortex": ((4600, 4856), (900, 1156)),
        "striatum": ((3700, 3956), (500, 756)),
        "thalamus": ((3063, 3319), (850, 1106)),
        "zona-incerta": ((1543, 1799), (650, 906)),
    }


def test_a_published_tile_of_each_region_runs_into_the_next_one_and_the_last_ends_early() -> None:
    tiles = load_benchmark("mtneuro-structures-3d-3-published").tiles_of()
    crossing = [t for t in tiles if t.split == "train" and t.start[0] + t.size[0] > 379]
    assert [tile.box for tile in crossing] == ["cortex", "striatum", "thalamus", "zona-incerta"]
    assert {379 - tile.start[0] for tile in crossing} == {5}


def test_no_tile_of_the_default_benchmark_crosses_its_box_or_its_part() -> None:
    benchmark = load_benchmark("mtneuro")
    for tile in benchmark.tiles_of():
        ranges = benchmark.boxes[tile.box].ranges
        for start, size, (first, stop) in zip(tile.start, tile.size, ranges, strict=True):
            assert first <= start < start + size <= stop


def test_a_background_tile_is_cortex_only_where_that_is_published() -> None:
    default, published = load_benchmark("mtneuro"), load_benchmark("mtneuro-regions-published")
    assert default.regions is not None
    assert default.regions.index[0] == -1
    assert published.regions is not None
    assert published.regions.index[0] == 0
    both = {1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3, 7: 3, 8: 1}
    assert both.items() <= default.regions.index.items()


def test_axons_are_background_in_three_classes_and_a_class_of_their_own_in_four() -> None:
    three = load_benchmark("mtneuro-structures-2d-3-published").structures
    four = load_benchmark("mtneuro-structures-2d-4-published").structures
    assert three is not None
    assert three.index == {0: 0, 3: 0, 1: 1, 2: 2}
    assert four is not None
    assert four.index == {0: 0, 1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize(
    ("rest", "starts"),
    [("drop", [0, 4]), ("overlap", [0, 4, 6]), ("pad", [0, 4, 8])],
)
def test_a_rest_is_dropped_overlapped_or_padded_as_asked(
    tmp_path: Path, rest: str, starts: list[int]
) -> None:
    text = SMALL.replace("size = [1, 5, 5]", f'size = [4, 10, 10]\nrest = "{rest}"')
    tiles = load_benchmark(written(tmp_path, text)).tiles_of()
    assert [t.start[0] - 10 for t in tiles if t.split == "test" and t.box == "a"] == starts


def test_a_part_that_no_tile_fits_into_is_refused_beside_others_of_its_box(tmp_path: Path) -> None:
    text = SMALL.replace("train = [", 'train = [{ boxes = ["a"], z = [12, 20] }, ')
    text = text.replace("test = [{ z = [10, 20] }]", 'test = [{ boxes = ["b"], z = [10, 20] }]')
    thin = text.replace("z = [0, 8]", 'boxes = ["a"], z = [0, 3]')
    thin = thin.replace("size = [1, 5, 5]", "size = [4, 5, 5]")
    with pytest.raises(RecipeError, match=r"\[4, 5, 5\].*'a', of which train has \[3, 10, 10\]"):
        load_benchmark(written(tmp_path, thin)).tiles_of()


def test_a_clipped_tile_ends_with_its_part(tmp_path: Path) -> None:
    text = SMALL.replace("size = [1, 5, 5]", 'size = [5, 5, 5]\nrest = "clip"')
    tiles = load_benchmark(written(tmp_path, text)).tiles_of()
    ends = {(tile.split, tile.start[0] + tile.size[0]) for tile in tiles}
    assert ends == {("train", 5), ("train", 8), ("test", 15), ("test", 20)}


def test_a_tile_is_not_padded_with_slices_of_another_part(tmp_path: Path) -> None:
    text = SMALL.replace("size = [1, 5, 5]", 'size = [5, 5, 5]\nrest = "pad"')
    with pytest.raises(RecipeError, match=r"'a' in train.*slices from 8 on.*another part"):
        load_benchmark(written(tmp_path, text)).tiles_of()


def test_other_boxes_train_than_test(tmp_path: Path) -> None:
    text = SMALL.replace("z = [0, 8]", 'boxes = ["a"]').replace("z = [10, 20]", 'boxes = ["b"]')
    tiles = load_benchmark(written(tmp_path, text)).tiles_of()
    assert {(tile.split, tile.box) for tile in tiles} == {("train", "a"), ("test", "b")}


def test_ids_of_tiles_are_unique_and_groups_never_straddle_parts() -> None:
    tiles = load_benchmark("mtneuro").tiles_of()
    assert len({tile.id for tile in tiles}) == len(tiles)
    parts: dict[str, set[str]] = {}
    for tile in tiles:
        parts.setdefault(tile.group, set()).add(tile.split)
    assert all(len(found) == 1 for found in parts.values())
    assert "cortex-z0420" in parts
    assert len(parts) == 4 * (27 + 2 + 5)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[10, 20] }]", "[9, 20] }]", "toml: it has 'a' z .*only 1 slices apart: 2 slices must"),
        ("[10, 20] }]", "[7, 20] }]", "not disjoint"),
        ("[10, 20] }]", "[10, 21] }]", "takes slices 10 to 21 of the box 'a'"),
        ("z = [0, 8]", 'boxes = ["c"]', "has no box 'c'"),
        ("[1, 5, 5]", "[0, 5, 5]", "each 1 or more"),
        ("a = { z = [0, 20]", "a = { z = [20, 20]", "the one after the last"),
        ("gap = 2", "gap = 2\nspare = 1", "unknown key 'spare'"),
        ('name = "small"', "", "the key 'name' is missing"),
        ("[{ z = [0, 8] }]", "[{ z = [0, 8] }, { z = [4, 8] }]", "not disjoint: name each once"),
        ("train = [{ z = [0, 8] }]\ntest = [{ z = [10, 20] }]", "", "has no part in [splits]"),
        ("[channels]", "spacing = [0, 1, 1]\n[channels]", "greater than 0"),
        ("[tiles]", "[regions]\nclasses = { a = [1], b = [] }\n[tiles]", "at least 1 item"),
    ],
)
def test_what_is_wrong_is_said_with_box_and_key(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    with pytest.raises(RecipeError, match=words.replace("[", r"\[")):
        load_benchmark(written(tmp_path, SMALL.replace(old, new, 1)))


def test_a_box_without_a_tile_is_refused(tmp_path: Path) -> None:
    benchmark = load_benchmark(written(tmp_path, SMALL.replace("[1, 5, 5]", "[1, 11, 5]")))
    with pytest.raises(RecipeError, match="into the box 'a'"):
        benchmark.tiles_of()


def test_an_id_of_two_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="gives the id 1 to both"):
        LabelMap(classes={"a": (0, 1), "b": (1,)})


def test_a_file_extends_another_beside_it_and_never_itself(tmp_path: Path) -> None:
    written(tmp_path, SMALL)
    mine = written(
        tmp_path, 'extends = "small"\nname = "mine"\n[tiles]\nsize = [1, 10, 10]\n', "m.toml"
    )
    assert load_benchmark(mine).tiles.size == (1, 10, 10)
    assert load_benchmark(mine).splits.gap == 2
    circle = written(tmp_path, 'extends = "circle"\nname = "circle"\n', "circle.toml")
    with pytest.raises(RecipeError, match="extends itself"):
        load_benchmark(circle)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="mtneuro"):
        load_benchmark("mtneuron")
    assert "mtneuro" in list_benchmarks()


def test_a_channel_of_a_box_goes_before_that_of_the_benchmark() -> None:
    benchmark = Benchmark.model_validate(
        {
            "name": "pictures",
            "channels": {"image": "all.npy"},
            "boxes": {
                "a": {"z": (0, 1), "y": (0, 5), "x": (0, 5), "channels": {"image": "a.png"}},
                "b": {"z": (0, 1), "y": (0, 5), "x": (0, 5)},
            },
            "splits": {"train": ({"boxes": ("a",)},), "test": ({"boxes": ("b",)},)},
        }
    )
    assert benchmark.channel("image", "a") == "a.png"
    assert benchmark.channel("image", "b") == "all.npy"
    assert benchmark.channel("regions", "a") is None
