# SPDX-License-Identifier: Apache-2.0
"""A run of several networks that was killed: what it notices of its data, cache and folds."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from encephalon.errors import OutputExistsError, RunError
from tests.studies.micrographs.tiny import rich_recipe, train, write_images

ROOT = Path(__file__).parents[3]
RECIPE = rich_recipe()
COLUMNS: dict[str, Callable[[int, int], str]] = {
    "vessel": lambda animal, number: f"{animal}-{number // 2}",
    **{name: lambda *_: "" for name in "xywh"},
}


class StopError(Exception):
    """The first step of what is still to be trained."""


def stop(_progress: Any, _losses: Any) -> None:
    raise StopError


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and a run killed in its second fold."""
    folder = tmp_path_factory.mktemp("begun")
    table = write_images(folder / "images", extra=COLUMNS)
    program = [sys.executable, "-m", "tests.studies.micrographs.tiny", table, folder / "run", "9"]
    sources = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": sources}
    assert subprocess.run(program, env=environment, check=False).returncode == -9
    return folder


@pytest.fixture
def copy(begun: Path, tmp_path: Path) -> Path:
    """A copy of the run, and of what it learns from, with every time stamp."""
    shutil.copytree(begun, tmp_path / "copy")
    return tmp_path / "copy"


def resume(folder: Path) -> None:
    """Go on until a network takes its first step."""
    with pytest.raises(StopError):
        train(RECIPE, folder / "images" / "table.csv", folder / "run", resume=True, report=stop)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace("0.", "1.", 1))


def test_what_nobody_touched_goes_on(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a word."""
    with caplog.at_level(logging.WARNING, "encephalon"):
        resume(copy)
    assert not caplog.messages


@pytest.mark.parametrize("stamped", [False, True])
def test_an_image_that_was_replaced_is_refused(copy: Path, stamped: bool) -> None:
    """By its name, also where size and time of the file are those of the old one."""
    image = copy / "images" / "S0V1.tif"
    before, content = image.stat(), bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)
    if stamped:
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(RunError, match=r"^S0V1\.tif: the content is not what the run"):
        train(RECIPE, copy / "images" / "table.csv", copy / "run", resume=True)


def test_a_pixel_size_that_came_later_is_refused(copy: Path) -> None:
    """A sidecar changes what the network sees of an image."""
    (copy / "images" / "S0V1.json").write_text('{"PixelSize": [1, 1], "PixelSizeUnits": "um"}')
    with pytest.raises(RunError, match=r"^S0V1\.tif: the content is not what the run"):
        train(RECIPE, copy / "images" / "table.csv", copy / "run", resume=True)


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("kind", ["bin", "json"])
def test_a_damaged_cache_is_made_again(
    copy: Path, kind: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """It is safe to delete, so it is safe to damage; that is said."""
    (path,) = (copy / "run" / "cache").glob(f"*.{kind}")
    whole = path.read_bytes()
    damage(path)
    with caplog.at_level(logging.WARNING, "encephalon"):
        resume(copy)
    assert path.read_bytes() == whole
    assert "is not as it was written: it is made again" in caplog.text


@pytest.mark.parametrize("name", ["scores.csv", "history.csv"])
@pytest.mark.parametrize("damage", [edit, cut])
def test_what_a_finished_fold_said_is_made_again_where_it_was_edited(
    copy: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Of its checkpoint, so that scores and history are those of its network."""
    path = copy / "run" / "folds" / "0" / name
    whole = path.read_bytes()
    damage(path)
    assert path.read_bytes() != whole
    with caplog.at_level(logging.WARNING, "encephalon"):
        resume(copy)
    assert path.read_bytes() == whole
    assert f"{path} is not as it was written" in caplog.text


@pytest.mark.parametrize(("taken", "put"), [("0", "1"), ("1", "0")])
def test_the_checkpoint_of_another_fold_is_refused(copy: Path, taken: str, put: str) -> None:
    """In the fold to go on with, and in one that is finished."""
    source, place = (
        copy / "run" / "folds" / number / "checkpoint" / "last.safetensors"
        for number in (taken, put)
    )
    shutil.copyfile(source, place)
    with pytest.raises(RunError, match=rf"folds/{put}/checkpoint.* belongs to another run"):
        train(RECIPE, copy / "images" / "table.csv", copy / "run", resume=True, report=stop)


def test_a_damaged_checkpoint_of_a_finished_fold_is_told_at_once(copy: Path) -> None:
    """Not when all else is trained, though it is needed only then."""
    flip(copy / "run" / "folds" / "0" / "checkpoint" / "last.safetensors")
    with pytest.raises(RunError, match=r"folds/0/checkpoint.*damaged"):
        train(RECIPE, copy / "images" / "table.csv", copy / "run", resume=True, report=stop)


@pytest.mark.parametrize("name", ["final/recipe.toml", "folds/2/table.csv", "report.html"])
def test_what_was_put_in_the_way_is_not_replaced(copy: Path, name: str) -> None:
    """A file of somebody else in a folder that the run has not come to yet."""
    path = copy / "run" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(OutputExistsError, match=name):
        train(RECIPE, copy / "images" / "table.csv", copy / "run", resume=True)
    assert path.read_text() == "mine"
