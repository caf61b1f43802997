# SPDX-License-Identifier: Apache-2.0
"""Downloads from a server on this machine: by hash, once, resumed, never when offline."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest

from encephalon.errors import (
    MissingExtraError,
    ModelError,
    OutputError,
    UnreadableFileError,
    UsageError,
)
from encephalon.io import fetch
from encephalon.io.http import Patience
from encephalon.models.catalogue import list_models, model_info, verify_model
from encephalon.models.download import get_model
from encephalon.models.exchange import export_model
from encephalon.models.folder import ModelFolder
from encephalon.models.published import PublishedFile
from encephalon.models.registry import RegistryEntry, registry_entries, shipped_entries
from tests.file_server import CONTENT, Server, server

__all__ = ["server"]


def left(home: Path) -> set[str]:
    """The files of all models, without locks."""
    return {path.name for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RegistryEntry]:
    def register(content: bytes, **changes: object) -> RegistryEntry:
        values = {"size": len(content), "sha256": sha256(content).hexdigest(), "url": ""} | changes
        entry = replace(registry_entries()["brainy"], **values)  # type: ignore[arg-type]
        monkeypatch.setitem(shipped_entries(), entry.name, entry)  # type: ignore[arg-type]
        return entry

    return register


@pytest.fixture
def entry(register: Callable[..., RegistryEntry]) -> RegistryEntry:
    return register(CONTENT)


def test_a_model_is_downloaded_once(server: Server, entry: RegistryEntry, home: Path) -> None:
    """The file lands under its name, nothing else stays, and the second time nobody is asked."""
    first = get_model("brainy", mirror=server.address + "/")
    assert isinstance(first, PublishedFile)
    assert first.path.read_bytes() == CONTENT
    assert get_model("brainy", mirror=server.address) == first
    assert server.asked == [(f"/files/{entry.file}", None)]
    assert left(home) == {entry.file}


def test_the_address_of_the_registry_is_used_without_a_mirror(
    server: Server, register: Callable[..., RegistryEntry]
) -> None:
    """The entry's own address is asked for as it stands."""
    register(CONTENT, url=server.address + "/by-url.h5")
    assert get_model("brainy").path.read_bytes() == CONTENT
    assert server.asked == [("/files/by-url.h5", None)]


def test_the_mirror_may_come_from_the_environment(
    server: Server, entry: RegistryEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hospital sets it once for everybody; an argument goes before it."""
    monkeypatch.setenv("ENCEPHALON_MIRROR", "http://127.0.0.1:9/nobody")
    assert get_model("brainy", mirror=server.address).name == "brainy"
    monkeypatch.setenv("ENCEPHALON_MIRROR", server.address)
    assert get_model("brainy").name == "brainy"


def test_a_mirror_may_be_a_folder_even_offline(entry: RegistryEntry, tmp_path: Path) -> None:
    """A shared disk or a memory stick needs no network; the hash is compared all the same."""
    with pytest.raises(ModelError, match=f"has no file {entry.file}"):
        get_model("brainy", mirror=str(tmp_path))
    (tmp_path / entry.file).write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match="expected the published sha256"):
        get_model("brainy", mirror=str(tmp_path))
    (tmp_path / entry.file).write_bytes(CONTENT)
    assert get_model("brainy", mirror=str(tmp_path), offline=True).name == "brainy"


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_offline_never_asks(
    server: Server, entry: RegistryEntry, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """By flag or by environment, the server hears nothing and the user what to do."""
    if way == "environment":
        monkeypatch.setenv("ENCEPHALON_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"not to be used: .*models import"):
        get_model("brainy", offline=way == "argument", mirror=server.address)
    assert server.asked == []


def test_what_is_here_is_found_offline(server: Server, entry: RegistryEntry) -> None:
    """Once downloaded, offline makes no difference."""
    first = get_model("brainy", mirror=server.address)
    assert get_model("brainy", offline=True) == first


def test_a_broken_download_goes_on_where_it_stopped(
    server: Server, entry: RegistryEntry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part is kept and only the rest is asked for."""
    server.stop_after = 150_000
    monkeypatch.setattr(fetch, "_PATIENCE", Patience(attempts=1))
    with pytest.raises(ModelError, match=r"could not be fetched .* what has come is kept"):
        get_model("brainy", mirror=server.address)
    assert entry.file not in left(home)
    server.stop_after = None
    assert get_model("brainy", mirror=server.address).path.read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=150000-"
    assert left(home) == {entry.file}


def test_what_breaks_off_is_asked_again_at_once(server: Server, entry: RegistryEntry) -> None:
    """The user hears nothing of it."""
    server.stop_after = 150_000
    assert get_model("brainy", mirror=server.address).path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=150000-"]


def test_what_breaks_off_again_and_again_goes_on_while_more_comes(
    server: Server, register: Callable[..., RegistryEntry]
) -> None:
    """More often than a question is asked again, as each time brought some of it."""
    server.content, server.stop_after = bytes(7) * 100_000, 70_000
    register(server.content)
    assert get_model("brainy", mirror=server.address).path.read_bytes() == server.content
    assert len(server.asked) == 10


def test_a_server_without_ranges_starts_anew(server: Server, entry: RegistryEntry) -> None:
    """The whole file replaces the part, it is not appended to it."""
    server.stop_after, server.knows_ranges, server.says_length = 150_000, False, False
    with pytest.raises(ModelError, match="broke off after 150,000 of 204,804 bytes"):
        get_model("brainy", mirror=server.address)
    server.stop_after = None
    assert get_model("brainy", mirror=server.address).path.read_bytes() == CONTENT


@pytest.mark.parametrize("says_length", [True, False])
def test_another_file_is_thrown_away(
    server: Server, entry: RegistryEntry, home: Path, says_length: bool
) -> None:
    """Wrong bytes of the right length, or far too many, are refused and leave nothing to resume."""
    server.says_length = says_length
    server.content = bytes(len(CONTENT) * (1 if says_length else 25))
    why = "has .* try another mirror" if says_length else "more than 204,804 bytes came"
    with pytest.raises(ModelError, match=why):
        get_model("brainy", mirror=server.address)
    assert left(home) == set()
    server.content, server.says_length = CONTENT, True
    assert get_model("brainy", mirror=server.address).name == "brainy"


def test_a_page_instead_of_the_file_is_refused_at_once(
    server: Server, entry: RegistryEntry, home: Path
) -> None:
    """A log-in page is known by its length, before it is kept as a part."""
    server.content = b"<html>Please log in</html>"
    with pytest.raises(ModelError, match="expected 204,804 bytes, but the server offers 26"):
        get_model("brainy", mirror=server.address)
    assert left(home) == set()


def test_a_server_that_says_no_is_quoted(server: Server, entry: RegistryEntry) -> None:
    """404 comes back with the address and the way out."""
    server.status = 404
    with pytest.raises(ModelError, match=r"http://127.* could not be fetched .*404.*mirror"):
        get_model("brainy", mirror=server.address)


def test_nobody_at_the_address_is_a_sentence(server: Server, entry: RegistryEntry) -> None:
    """A refused connection and an address of another kind are explained."""
    with pytest.raises(ModelError, match="check the network"):
        get_model("brainy", mirror="http://127.0.0.1:9")
    with pytest.raises(UsageError, match="begins with https"):
        get_model("brainy", mirror="ftp://127.0.0.1")


def test_without_an_address_other_ways_are_named(entry: RegistryEntry) -> None:
    """A model whose file is on no plain server says where its file can be had."""
    with pytest.raises(
        ModelError, match=r"No address is known for the model 'brainy'.*DataLad.*models import"
    ):
        get_model("brainy")


def test_several_processes_download_once(server: Server, entry: RegistryEntry) -> None:
    """The lock lets one work; the others find the file."""
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: get_model("brainy", mirror=server.address).path, range(4)))
    assert len(found) == 1
    assert len(server.asked) == 1


def test_a_damaged_file_is_fetched_again(server: Server, entry: RegistryEntry) -> None:
    """What lies in the home folder is compared too."""
    path = get_model("brainy", mirror=server.address).path
    path.write_bytes(CONTENT[:100])
    assert get_model("brainy", mirror=server.address).path.read_bytes() == CONTENT


def test_a_zipped_model_folder_is_downloaded_and_unpacked(
    server: Server, register: Callable[..., RegistryEntry], model: ModelFolder, tmp_path: Path
) -> None:
    """A registered folder arrives as a zip, is verified, and is found by name from then on."""
    server.content = export_model(model.path, tmp_path / "tiny.zip").read_bytes()
    register(server.content, name="tiny", kind="folder", file="tiny.zip")
    found = get_model("tiny", mirror=server.address)
    assert isinstance(found, ModelFolder)
    assert found.sha256 == model.sha256
    assert get_model("tiny", offline=True).sha256 == model.sha256


def test_a_model_that_is_not_registered_is_only_looked_up() -> None:
    """Nothing is asked of any network for an unknown name."""
    with pytest.raises(ModelError, match="Unknown model 'zzz'"):
        get_model("zzz")


def test_downloading_needs_its_extra(entry: RegistryEntry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without requests the exact command to install it is given."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'encephalon\[download\]'"):
        get_model("brainy", mirror="http://127.0.0.1:9")


def test_a_home_that_cannot_be_written_is_named(
    entry: RegistryEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the place of the home folder is an output error, not a crash."""
    (tmp_path / "occupied").write_text("")
    monkeypatch.setenv("ENCEPHALON_HOME", os.fspath(tmp_path / "occupied"))
    with pytest.raises(OutputError, match="occupied"):
        get_model("brainy", mirror="http://127.0.0.1:9")


def test_a_download_that_trickles_is_given_up(
    server: Server, entry: RegistryEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte a second never meets a time-out between two pieces, nor do lines of a header."""
    monkeypatch.setattr(fetch, "_PATIENCE", Patience(grace=-1, slowest=1e15))
    with pytest.raises(ModelError, match=r"bytes came in .* what has come is kept"):
        get_model("brainy", mirror=server.address)
    monkeypatch.setattr(fetch, "_PATIENCE", Patience(attempts=1, answer=0.3))
    server.drips = True
    with pytest.raises(ModelError, match=r"no whole answer came within 0.3 s"):
        get_model("brainy", mirror=server.address)


def test_a_whole_download_has_a_time_limit(
    server: Server, entry: RegistryEntry, home: Path
) -> None:
    """However fast it is; what has come is kept for the next time."""
    with pytest.raises(ModelError, match=r"not whole within -1 seconds.* what has come is kept"):
        get_model("brainy", mirror=server.address, limit=-1)
    assert f".{entry.file}.part" in left(home)
    assert get_model("brainy", mirror=server.address).path.read_bytes() == CONTENT
    assert server.asked[-1][1] is not None


def test_the_password_of_a_mirror_is_not_repeated(server: Server, entry: RegistryEntry) -> None:
    """Neither in the address nor in what the network said of it."""
    with pytest.raises(ModelError, match="could not be fetched") as raised:
        get_model("brainy", mirror="http://user:secret@127.0.0.1:9/models")
    assert "secret" not in str(raised.value)
    assert "user" not in str(raised.value)
    with pytest.raises(UsageError, match="expected an address") as refused:
        get_model("brainy", mirror="ftp://user:secret@host/models")
    assert "secret" not in str(refused.value)


def test_the_first_fetch_without_a_published_sha256_is_recorded_and_compared_ever_after(
    server: Server, register: Callable[..., RegistryEntry], home: Path
) -> None:
    """A file that changed at its address is refused, with both hashes; the old one stays used."""
    register(CONTENT, sha256="", url=server.address + "/by-url.h5")
    assert model_info("brainy")["sha256_is"] == "unknown until the first fetch"
    first = get_model("brainy")
    was, today = sha256(CONTENT).hexdigest(), date.today().isoformat()
    assert (first.sha256, verify_model("brainy")) == (was, {first.path.name: was})
    info = model_info("brainy")
    assert (info["sha256"], info["size"]) == (was, len(CONTENT))
    assert info["sha256_is"] == f"recorded on {today} at the first fetch"
    (listed,) = [one for one in list_models() if one.name == "brainy"]
    assert listed.sha256_is == info["sha256_is"]

    first.path.unlink()
    server.content = CONTENT[:-1] + b"!"
    now = sha256(server.content).hexdigest()
    for mirror in (None, server.address):
        with pytest.raises(ModelError, match=rf"{was} .* recorded on {today} .* {now}"):
            get_model("brainy", mirror=mirror)
    assert left(home) == set()
    first.path.write_bytes(server.content)
    with pytest.raises(ModelError, match=rf"{was}, recorded on {today} .*{now}"):
        verify_model("brainy")
    server.content = CONTENT
    assert get_model("brainy") == first


def test_what_stands_in_for_a_file_is_never_recorded(
    server: Server, register: Callable[..., RegistryEntry], home: Path
) -> None:
    """A page that asks to log in, a pointer of Git LFS, or a file that was cut short."""
    register(CONTENT, sha256="", url=server.address + "/by-url.h5")
    for content in (
        b"<html>Please log in</html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        CONTENT[:-1],
    ):
        server.content = content
        with pytest.raises(ModelError, match="expected the model 'brainy', but it is"):
            get_model("brainy")
        assert left(home) == set()
    assert not (home.parent / "fetched.json").exists()


def test_a_first_fetch_goes_on_only_while_the_server_says_that_the_file_is_the_same(
    server: Server, register: Callable[..., RegistryEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No two halves of different files are ever joined and recorded."""
    register(CONTENT, sha256="", url=server.address + "/by-url.h5")
    server.etag, server.stop_after = '"one"', 150_000
    monkeypatch.setattr(fetch, "_PATIENCE", Patience(attempts=1))
    with pytest.raises(ModelError, match="what has come is kept"):
        get_model("brainy")
    server.etag, server.stop_after, server.content = '"two"', None, bytes(reversed(CONTENT))
    assert get_model("brainy").path.read_bytes() == server.content
    assert server.asked[-1][1] == "bytes=150000-"


def test_damaged_records_are_named(home: Path) -> None:
    """Neither trusted nor thrown away."""
    home.parent.mkdir(parents=True, exist_ok=True)
    (home.parent / "fetched.json").write_text('{"x": 1}', encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=r"fetched\.json: expected what was recorded"):
        list_models()
