# SPDX-License-Identifier: Apache-2.0
"""Precomputed volumes of Neuroglancer, in a folder and on a server, read by TensorStore."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encephalon.errors import InputError, MissingExtraError, MissingFileError, UsageError
from encephalon.io.http import Patience
from encephalon.io.volumes.opening import open_remote, open_volume
from encephalon.io.volumes.precomputed import precomputed
from encephalon.io.volumes.writing import create_ome_zarr

tensorstore = pytest.importorskip("tensorstore", reason="needs  pip install tensorstore")

FAST = Patience(attempts=2, pause=0.05, answer=20.0)
VOXELS = np.random.default_rng(4).integers(0, 250, (9, 11, 13)).astype(np.uint8)
ORIGIN = (30, 20, 10)


def write(folder: Path, data: np.ndarray = VOXELS, channels: int = 1) -> Path:
    """A volume of two resolutions, raw, in chunks of 4, 5, 6 voxels."""
    for level in range(2):
        part = data[:: 2**level, :: 2**level, :: 2**level]
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{folder}/"},
            "multiscale_metadata": {
                "data_type": str(data.dtype),
                "num_channels": channels,
                "type": "image",
            },
            "scale_metadata": {
                "size": list(part.shape[::-1]),
                "encoding": "raw",
                "chunk_size": [6, 5, 4],
                "resolution": [1170 * 2**level, 585 * 2**level, 2340 * 2**level],
                "voxel_offset": [n // 2**level for n in ORIGIN[::-1]],
            },
        }
        store = tensorstore.open(spec, create=True, open=True).result()
        for channel in range(channels):
            store[..., channel].write(part.T + np.uint8(channel)).result()
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The volume in a folder."""
    return write(tmp_path_factory.mktemp("precomputed") / "image")


class Silent(SimpleHTTPRequestHandler):
    """Serves a folder, and counts what is asked of it."""

    asked: list[str] = []  # noqa: RUF012 -- of the class, since each request has its own object

    def do_GET(self) -> None:
        Silent.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the same folder on a server, and an empty cache."""
    monkeypatch.setenv("ENCEPHALON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ENCEPHALON_OFFLINE", raising=False)
    handler = partial(Silent, directory=str(folder.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Silent.asked.clear()
    yield f"http://127.0.0.1:{server.server_address[1]}/image"
    server.shutdown()
    server.server_close()


spans = st.tuples(
    *[
        st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda span: span[0] < span[1])
        for n in VOXELS.shape
    ]
)


@given(box=spans)
def test_any_box_is_the_slice_of_the_volume(folder: Path, box: Any) -> None:
    """In absolute voxels, z, y, x."""
    volume = open_volume(f"precomputed://file://{folder}")
    absolute = tuple((a + n, b + n) for (a, b), n in zip(box, ORIGIN, strict=True))
    found = volume.read(absolute, complete=True)
    np.testing.assert_array_equal(found, VOXELS[tuple(slice(*span) for span in box)])


def test_what_it_is_comes_from_its_info(folder: Path) -> None:
    """Shape, type, spacing in µm, origin, and a level by number."""
    volume = open_volume(f"precomputed://file://{folder}")
    assert (volume.shape, volume.dtype, volume.origin) == (VOXELS.shape, np.uint8, ORIGIN)
    assert volume.spacing == pytest.approx((2.34, 0.585, 1.17))
    assert (volume.level, volume.levels) == (0, 2)
    coarse = open_volume(f"precomputed://file://{folder}", level=1)
    assert coarse.origin == (15, 10, 5)
    assert coarse.spacing == pytest.approx((4.68, 1.17, 2.34))
    np.testing.assert_array_equal(coarse.read(), VOXELS[::2, ::2, ::2])


def test_from_a_server_it_is_fetched_once(url: str) -> None:
    """And read offline from what is kept; the server is named, and nothing that follows a ?."""
    volume = open_remote(f"precomputed://{url}", patience=FAST)
    np.testing.assert_array_equal(volume.read(), VOXELS)
    assert volume.name == f"precomputed://{url}"
    asked = len(Silent.asked)
    assert asked
    again = open_remote(f"precomputed://{url}", patience=FAST, offline=True)
    np.testing.assert_array_equal(again.read(), VOXELS)
    np.testing.assert_array_equal(open_remote(url, patience=FAST).read(), VOXELS)
    assert len(Silent.asked) == asked


def test_missing_chunks_are_zeros_and_counted(tmp_path: Path) -> None:
    """As the format has it; who needs a whole box says so."""
    place = write(tmp_path / "image")
    for chunk in place.glob("1170_585_2340/10-16_*"):
        chunk.unlink()
    volume = open_volume(f"precomputed://file://{place}")
    assert volume.missing() == 1
    assert not volume.read()[..., :6].any()
    assert volume.missing(((30, 39), (20, 31), (16, 23))) == 0
    with pytest.raises(InputError, match="are missing"):
        volume.read(complete=True)


def test_damaged_chunks_are_errors(tmp_path: Path) -> None:
    """The sentence names volume and box."""
    place = write(tmp_path / "image")
    for chunk in place.glob("1170_585_2340/*"):
        chunk.write_bytes(chunk.read_bytes()[:-3])
    volume = open_volume(f"precomputed://file://{place}")
    with pytest.raises(InputError, match=r"image, z 30:39, y 20:31, x 10:23") as caught:
        volume.read()
    assert "\n" not in str(caught.value)


def test_a_channel_is_chosen_by_number(tmp_path: Path) -> None:
    """Where there are several."""
    place = write(tmp_path / "image", channels=2)
    found = open_volume(f"precomputed://file://{place}", channel=1)
    np.testing.assert_array_equal(found.read(), VOXELS + 1)
    for options in ({}, {"channel": 2}):
        with pytest.raises(InputError, match="choose one of the 2 channels"):
            open_volume(f"precomputed://file://{place}", **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": []}, "level 0 was asked for"),
        ({"scales": [{}]}, "makes no sense"),
        ({"data_type": "complex64"}, "real number"),
        ({"data_type": "nothing"}, "makes no sense"),
        ({"num_channels": "x"}, "makes no sense"),
    ],
)
def test_an_info_without_sense_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """One sentence that names the volume."""
    info = json.loads((folder / "info").read_text()) | change
    (tmp_path / "info").write_text(json.dumps(info))
    with pytest.raises(InputError, match=message) as caught:
        open_volume(f"precomputed://file://{tmp_path}")
    assert "precomputed://file://" in str(caught.value)
    (tmp_path / "info").write_text("{")
    with pytest.raises(InputError, match="precomputed://file://"):
        open_volume(f"precomputed://file://{tmp_path}")


def test_what_is_not_there_is_missing(tmp_path: Path, url: str) -> None:
    """A folder and an address without info, and a server that is none."""
    with pytest.raises(MissingFileError, match="no info is there"):
        open_volume(f"precomputed://file://{tmp_path}")
    with pytest.raises(MissingFileError, match="no info is there"):
        open_remote(f"{url}/elsewhere", patience=FAST)
    with pytest.raises(InputError, match=r"precomputed://http://127\.0\.0\.1:9/x"):
        open_remote("precomputed://http://me:hidden@127.0.0.1:9/x", patience=FAST)


def test_buckets_are_read_as_anybody_may() -> None:
    """By https, without credentials; what is no precomputed volume is said."""
    assert precomputed("s3://bucket/a/b", 0, None).address == (
        "https://bucket.s3.amazonaws.com/a/b"
    )
    assert precomputed("precomputed://gs://bucket/a", 0, None).address == (
        "https://storage.googleapis.com/bucket/a"
    )
    secret = precomputed("https://me:hidden@host/a?key=hidden", 0, None)
    assert "hidden" not in f"{secret} {secret.name} {secret.key}"
    for address in ("https://host/a.zarr", "precomputed://nonsense", "precomputed://"):
        with pytest.raises(UsageError):
            precomputed(address, 0, None)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_that_was_written_here_is_read_by_tensorstore(
    tmp_path: Path, version: Any
) -> None:
    """It knows fewer codecs than the package zarr, and refuses settings that it does not know."""
    with create_ome_zarr(tmp_path / "a.zarr", VOXELS.shape, np.uint8, version=version) as new:
        new.write(VOXELS)
    spec = {
        "driver": "zarr" if version == "0.4" else "zarr3",
        "kvstore": {"driver": "file", "path": f"{tmp_path}/a.zarr/0/"},
    }
    found = tensorstore.open(spec, read=True).result().read().result()
    np.testing.assert_array_equal(found, VOXELS)


def test_without_tensorstore_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the command that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'encephalon\[precomputed\]'"):
        open_volume(f"precomputed://file://{folder}")
