# SPDX-License-Identifier: Apache-2.0
"""Channels of BossDB: what is asked, what is made of the answer, and how failures are said."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encephalon.errors import (
    ContentError,
    EncephalonError,
    InputError,
    MissingFileError,
    UnreadableFileError,
    UsageError,
)
from encephalon.io.http import Patience, public
from encephalon.io.volumes.bossdb import boss_channel
from encephalon.io.volumes.opening import open_remote, open_volume
from encephalon.io.volumes.volume import Volume
from tests.io.volumes.boss_server import Boss, body, hang_up, packed, serving, slow, status

ADDRESS = "bossdb://col/exp/chan"
FAST = Patience(attempts=4, pause=0.01, connect=2.0, silence=2.0, answer=5.0, total=20.0)
VOXELS = np.random.default_rng(1).integers(0, 250, (40, 300, 280)).astype(np.uint8)
ZEROS = packed(np.zeros(28 * 206 * 246, np.uint8))
BOX = ((110, 112), (60, 63), (20, 24))


@pytest.fixture
def boss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Boss]:
    """A server with a volume that begins at 100, 50, 10, and an empty cache."""
    with serving(Boss(VOXELS, (100, 50, 10))) as made:
        monkeypatch.setenv("ENCEPHALON_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("ENCEPHALON_BOSS_SERVER", made.url)
        for name in ("ENCEPHALON_BOSS_TOKEN", "BOSS_TOKEN", "ENCEPHALON_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield made


def volume(**options: Any) -> Volume:
    return open_remote(ADDRESS, patience=FAST, **options)


def expected(box: Any = BOX) -> np.ndarray:
    return VOXELS[tuple(slice(a - n, b - n) for (a, b), n in zip(box, (100, 50, 10), strict=True))]


def test_what_it_is_comes_from_channel_experiment_and_frame(boss: Boss) -> None:
    """Shape, origin and edges of the frame, the type of the channel; no voxel is asked for."""
    found = volume()
    assert found.name == ADDRESS
    assert (found.shape, found.dtype) == (VOXELS.shape, np.uint8)
    assert found.origin == (100, 50, 10)
    assert found.spacing == pytest.approx((2.34, 0.585, 1.17))
    assert (found.level, found.levels) == (0, 2)
    assert [path for path, _ in boss.asked] == [
        "/v1/collection/col/experiment/exp/channel/chan/",
        "/v1/collection/col/experiment/exp/",
        "/v1/coord/frame%20of%201/",
    ]


def test_a_box_is_asked_as_x_y_z_and_comes_as_z_y_x(boss: Boss) -> None:
    """In blocks of a grid that begins at 0, cut at the edges of the volume, as blosc."""
    np.testing.assert_array_equal(volume().read(BOX), expected())
    assert boss.paths() == ["/v1/cutout/col/exp/chan/0/10:256/50:256/100:128/"]
    headers = boss.asked[-1][1]
    assert headers["Accept"] == "application/blosc"
    assert headers["Authorization"] == "Token public"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=st.tuples(*[st.tuples(st.integers(0, n), st.integers(0, n)) for n in VOXELS.shape]))
def test_any_box_is_the_slice_of_the_volume(boss: Boss, spans: Any) -> None:
    """Within a block and across several."""
    box = tuple(
        (n + min(span), n + max(span) + (span[0] == span[1]))
        for n, span in zip((100, 50, 10), spans, strict=True)
    )
    box = tuple(
        (min(a, n + size - 1), min(b, n + size))
        for (a, b), n, size in zip(box, (100, 50, 10), VOXELS.shape, strict=True)
    )
    np.testing.assert_array_equal(volume().read(box), expected(box))


def test_a_coarser_level_is_asked_for_by_number(boss: Boss) -> None:
    """Its shape and edges are of the record of its making; the address may name it too."""
    boss.start = (0, 0, 0)
    found = volume(level=1)
    assert found.shape == (20, 150, 140)
    assert found.spacing == pytest.approx((4.68, 1.17, 2.34))
    np.testing.assert_array_equal(found.read(), VOXELS[::2, ::2, ::2])
    assert all(path.startswith("/v1/cutout/col/exp/chan/1/") for path in boss.paths())
    assert open_remote(f"{ADDRESS}/1", patience=FAST).shape == (20, 150, 140)
    with pytest.raises(UnreadableFileError, match="level 2 was asked for"):
        volume(level=2)


def test_labels_keep_their_type(boss: Boss) -> None:
    """64 bits come back as 64 bits, however they are kept."""
    boss.volume = VOXELS.astype(np.uint64)
    found = volume()
    assert found.dtype == np.uint64
    assert found.read(BOX).dtype == np.uint64
    np.testing.assert_array_equal(found.read(BOX), expected())


def test_what_was_read_once_is_never_asked_for_again(boss: Boss) -> None:
    """Neither the block, nor what the volume is, also by another volume object."""
    volume().read(BOX)
    asked = len(boss.asked)
    np.testing.assert_array_equal(volume().read(BOX), expected())
    other = ((101, 127), (51, 200), (11, 12))
    np.testing.assert_array_equal(volume().read(other), expected(other))
    assert len(boss.asked) == asked


def test_what_is_kept_is_found_by_name_and_fetched_anew_once_it_is_deleted(
    boss: Boss, tmp_path: Path
) -> None:
    """A folder for each volume and level, whose name and size anybody can read."""
    volume().read(BOX)
    (kept,) = (tmp_path / "home" / "volumes").iterdir()
    assert kept.name.startswith("bossdb-col-exp-chan-0-")
    asked = len(boss.paths())
    rmtree(kept)
    volume().read(BOX)
    assert len(boss.paths()) == asked + 1


def test_offline_nothing_is_asked_and_what_is_missing_is_named(
    boss: Boss, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By flag or by variable; what is kept is read."""
    with pytest.raises(MissingFileError, match=r"bossdb://col/exp/chan: nothing of it is on this"):
        volume(offline=True)
    volume().read(BOX)
    asked = len(boss.asked)
    np.testing.assert_array_equal(volume(offline=True).read(BOX), expected())
    monkeypatch.setenv("ENCEPHALON_OFFLINE", "1")
    np.testing.assert_array_equal(volume().read(BOX), expected())
    with pytest.raises(MissingFileError, match="1 of 2 blocks are not on this machine") as caught:
        open_volume(ADDRESS).read(((110, 130), (60, 63), (20, 24)))
    assert "z 110:130, y 60:63, x 20:24" in str(caught.value)
    assert "z 128:140, y 50:256, x 10:256" in str(caught.value)
    assert len(boss.asked) == asked


@pytest.mark.parametrize(
    "trouble",
    [
        [status(500)],
        [status(503), status(502), status(429)],
        [hang_up],
        [body(lambda content: content[:-9], 100_000)],
        [body(lambda content: content[: len(content) // 2])],
        [body(lambda content: content[:10])],
        [body(lambda _: ZEROS[:16] + b"\xff" * (len(ZEROS) - 16))],
        [hang_up, status(500), body(lambda _: b"<html>busy</html>")],
    ],
)
def test_what_passes_is_asked_again(boss: Boss, trouble: Any) -> None:
    """Busy servers, connections and answers that break off, damage on the way."""
    found = volume()
    boss.trouble = list(trouble)
    np.testing.assert_array_equal(found.read(BOX), expected())
    assert len(boss.paths()) == len(trouble) + 1


@pytest.mark.parametrize(
    ("trouble", "message", "asked"),
    [
        (status(500), "the server answered 500, 4 times", 4),
        (hang_up, "the connection broke .*, 4 times", 4),
        (body(lambda content: content[:-9], 1_450_000), "the connection broke .*, 4 times", 4),
        (body(lambda content: content, 90_000_000), "90,000,000 bytes, more than", 1),
        (status(404), r"no such thing \(HTTP 404\)", 1),
        (status(400), r"the server refused \(HTTP 400\)", 1),
        (status(403), "wants a token that may read this", 1),
        (status(302), r"the server refused \(HTTP 302\)", 1),
        (body(lambda content: content * 40), "more than", 1),
        (body(lambda _: packed(np.zeros(7, np.uint8))), "7 bytes came instead of 1,418,928", 1),
    ],
)
def test_what_stays_is_said_with_channel_and_box(
    boss: Boss, trouble: Any, message: str, asked: int
) -> None:
    """One sentence after a bounded number of requests, and nothing is kept."""
    found = volume()
    boss.trouble = [trouble] * 9
    with pytest.raises(UnreadableFileError, match=message) as caught:
        found.read(BOX)
    assert f"{ADDRESS}, z 100:128, y 50:256, x 10:256: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(boss.paths()) == asked
    boss.trouble = []
    np.testing.assert_array_equal(found.read(BOX), expected())


@pytest.mark.parametrize("headers", [True, False])
def test_a_server_that_trickles_is_not_waited_for(boss: Boss, headers: bool) -> None:
    """However it spaces its bytes: an answer has a time within which it must be whole."""
    found = open_remote(
        ADDRESS, patience=Patience(2, 0.01, connect=1.0, silence=1.0, answer=0.4, total=5.0)
    )
    boss.trouble = [slow(0.05, headers=headers)] * 2
    begun = time.monotonic()
    with pytest.raises(UnreadableFileError, match="2 times") as caught:
        found.read(BOX)
    assert time.monotonic() - begun < 4
    assert "x 10:256" in str(caught.value)


def test_a_silent_server_is_not_waited_for(boss: Boss) -> None:
    """Nor is one asked again when the whole time is over."""
    found = open_remote(
        ADDRESS, patience=Patience(9, 0.3, connect=1.0, silence=0.3, answer=5.0, total=1.0)
    )
    boss.trouble = [slow(1.5)] * 9
    with pytest.raises(UnreadableFileError, match="the server was silent"):
        found.read(BOX)
    assert len(boss.paths()) < 4


@pytest.mark.parametrize("name", ["ENCEPHALON_BOSS_TOKEN", "BOSS_TOKEN", "plain", "json", "ini"])
def test_a_token_goes_to_the_server_and_nowhere_else(
    boss: Boss, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """From variables or a file; in no message, log, cache or text of the volume."""
    caplog.set_level(logging.DEBUG)
    boss.token = secret = "s3cr3t0123456789"
    texts = {"plain": f"{secret}\n", "json": f'{{"token": "{secret}"}}'}
    texts["ini"] = f"[Default]\nprotocol = https\ntoken = {secret}\n"
    file = None
    if name in texts:
        file = tmp_path / "token"
        file.write_text(texts[name])
    else:
        monkeypatch.setenv(name, secret)
    found = volume(token_file=file)
    np.testing.assert_array_equal(found.read(BOX), expected())
    assert all(headers["Authorization"] == f"Token {secret}" for _, headers in boss.asked)
    boss.trouble = [status(403)]
    with pytest.raises(InputError) as caught:
        found.read(((130, 131), (50, 51), (10, 11)))
    seen = [str(caught.value), caplog.text, repr(found), repr(found.source)]
    seen += [path for path, _ in boss.asked]
    home = tmp_path / "home"
    seen += [str(path) for path in home.rglob("*")]
    assert not any(secret in text for text in seen)
    assert not any(secret.encode() in p.read_bytes() for p in home.rglob("*") if p.is_file())


def test_without_a_token_the_server_is_asked_as_anybody_may(boss: Boss) -> None:
    """The word "public" stands in its place, as for those whom BossDB's own client knows not."""
    volume().read(BOX)
    assert {headers["Authorization"] for _, headers in boss.asked} == {"Token public"}


def test_without_a_token_what_is_not_public_is_refused(boss: Boss) -> None:
    """The sentence says how to give one; a .netrc of the user is not looked at."""
    boss.token = "another"
    with pytest.raises(UnreadableFileError, match=r"wants a token.*\$ENCEPHALON_BOSS_TOKEN"):
        volume()
    assert len(boss.asked) == 1


@pytest.mark.parametrize("text", ['{"token": ', '{"token": ""}', "[1]two words", "a\x00b", "ü"])
def test_a_token_file_without_a_token_is_refused(boss: Boss, tmp_path: Path, text: str) -> None:
    """Without a request, and without its content in the sentence."""
    (tmp_path / "token").write_text(text, encoding="utf-8")
    with pytest.raises(EncephalonError) as caught:
        volume(token_file=tmp_path / "token")
    assert "\n" not in str(caught.value)
    assert text not in str(caught.value)
    with pytest.raises(MissingFileError):
        volume(token_file=tmp_path / "nothing")
    assert boss.asked == []


def test_credentials_in_an_address_are_not_said(
    boss: Boss, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither in errors nor in what is kept."""
    monkeypatch.setenv("ENCEPHALON_BOSS_SERVER", boss.url.replace("://", "://me:hidden@"))
    volume().read(BOX)
    boss.trouble = [status(404)]
    with pytest.raises(UnreadableFileError) as caught:
        open_remote("bossdb://col/exp/other", patience=FAST)
    assert "hidden" not in str(caught.value)
    texts = [path.read_text() for path in (tmp_path / "home").rglob("volume.json")]
    assert texts
    assert not any("hidden" in text for text in texts)
    monkeypatch.setenv("ENCEPHALON_BOSS_SERVER", boss.url)
    asked = len(boss.paths())
    volume().read(BOX)
    assert len(boss.paths()) == asked
    assert public("see https://a:b@c/d?key=e now") == "see https://c/d now"


@pytest.mark.parametrize(
    "address",
    ["bossdb://col/exp", "bossdb://col/exp/chan/x", "bossdb://col//chan", "bossdb://a/b/c?d/e"],
)
def test_an_address_that_is_none_is_refused(boss: Boss, address: str) -> None:
    """Without a request."""
    with pytest.raises(UsageError, match="COLLECTION/EXPERIMENT/CHANNEL"):
        open_remote(address)
    assert boss.asked == []


def test_servers_are_asked_by_https_unless_somebody_says_http(
    boss: Boss, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """The default is https; http elsewhere than on this machine is warned of."""
    monkeypatch.delenv("ENCEPHALON_BOSS_SERVER")
    assert boss_channel(ADDRESS, 0).server == "https://api.bossdb.io"
    for server in ("ftp://a", "a.b", "file:///etc"):
        monkeypatch.setenv("ENCEPHALON_BOSS_SERVER", server)
        with pytest.raises(UsageError, match="https://"):
            boss_channel(ADDRESS, 0)
    monkeypatch.setenv("ENCEPHALON_BOSS_SERVER", boss.url)
    boss_channel(ADDRESS, 0)
    assert caplog.text == ""
    monkeypatch.setenv("ENCEPHALON_BOSS_SERVER", "http://volumes.example")
    boss_channel(ADDRESS, 0)
    assert "is not encrypted" in caplog.text


@pytest.mark.parametrize(
    ("frame", "channel", "message"),
    [
        ({"x_stop": 10}, {}, "expected voxels along each axis"),
        ({"x_stop": "wide"}, {}, "makes no sense"),
        ({"z_start": None}, {}, "makes no sense"),
        ({}, {"datatype": "object"}, "its type is 'object'"),
        ({}, {"datatype": None}, "its type is None"),
    ],
)
def test_what_the_server_says_must_make_sense(
    boss: Boss, frame: dict[str, Any], channel: dict[str, Any], message: str
) -> None:
    """One sentence that names the channel."""
    boss.frame, boss.channel = frame, channel
    with pytest.raises(InputError, match=message) as caught:
        volume()
    assert ADDRESS in str(caught.value)


def test_without_a_unit_the_spacing_is_unknown(boss: Boss) -> None:
    """And a channel beside that of the address is none."""
    boss.frame = {"voxel_unit": "parsecs"}
    assert volume().spacing is None
    with pytest.raises(ContentError, match="a part of the address"):
        volume(channel=1)


def test_no_json_is_no_answer(boss: Boss) -> None:
    """A page of a proxy in the place of the facts."""

    def page(handler: Any) -> bool:
        handler.answer(b"<html>sign in</html>")
        return True

    boss.trouble = [page]
    with pytest.raises(UnreadableFileError, match="bossdb://col/exp/chan"):
        volume()


def test_a_volume_goes_to_other_processes(boss: Boss) -> None:
    """Pickled, it reads the same."""
    copy = pickle.loads(pickle.dumps(volume()))
    np.testing.assert_array_equal(copy.read(BOX), expected())
