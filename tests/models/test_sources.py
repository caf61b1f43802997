# SPDX-License-Identifier: Apache-2.0
"""Where a model may come from: mirrors, archives, the Hugging Face Hub; and two jobs at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from encephalon.errors import ModelError
from encephalon.io.fetch import recorded
from encephalon.io.home import encephalon_home
from encephalon.models.catalogue import find_model, verify_model
from encephalon.models.description import dump_description
from encephalon.models.download import get_model
from encephalon.models.folder import ModelFolder
from encephalon.models.published import PublishedFile
from encephalon.models.registry import RegistryEntry, registry_entries, shipped_entries
from tests.file_server import CONTENT, Server, server

__all__ = ["server"]

NOBODY = "http://127.0.0.1:9/nobody"
HUB = "https://huggingface.co/somebody/tiny/resolve/main"


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RegistryEntry]:
    """Give brainy another file, and other addresses."""

    def register(**changes: object) -> RegistryEntry:
        known = {"size": len(CONTENT), "sha256": sha256(CONTENT).hexdigest(), "url": ""}
        entry = replace(registry_entries()["brainy"], **(known | changes))  # type: ignore[arg-type]
        monkeypatch.setitem(shipped_entries(), entry.name, entry)  # type: ignore[arg-type]
        return entry

    return register


def test_mirrors_are_asked_in_turn(server: Server, register: Callable[..., RegistryEntry]) -> None:
    """One that nobody serves, one without the file, one with another file; then the right one."""
    entry = register()
    server.contents[f"bad/{entry.file}"] = bytes(len(CONTENT))
    mirrors = [NOBODY, "/no/such/folder", f"{server.address}/bad", f"{server.address}/good"]
    assert get_model("brainy", mirror=mirrors).path.read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == [
        *(f"/files/bad/{entry.file}", f"/files/good/{entry.file}")
    ]


def test_the_addresses_of_the_registry_are_asked_in_turn(
    server: Server, register: Callable[..., RegistryEntry]
) -> None:
    """Its mirrors come after its address, and none of them where a mirror is named."""
    register(url=f"{NOBODY}/a.h5", mirrors=(f"{server.address}/b.h5",))
    assert get_model("brainy").path.read_bytes() == CONTENT
    assert [path for path, _ in server.asked] == ["/files/b.h5"]
    find_model("brainy").path.unlink()
    with pytest.raises(ModelError, match="could not be fetched"):
        get_model("brainy", mirror=NOBODY)
    assert len(server.asked) == 1


def test_when_no_place_has_it_every_reason_is_told(
    register: Callable[..., RegistryEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of the places of the environment, which stand between semicolons."""
    register()
    monkeypatch.setenv("ENCEPHALON_MIRROR", f"{NOBODY}; /no/such/folder")
    with pytest.raises(ModelError, match=r"any of 2 places: .*127\.0\.0\.1:9.*/no/such/folder"):
        get_model("brainy")
    with pytest.raises(ModelError, match="/no/such/folder has no file"):
        get_model("brainy", offline=True, mirror="/no/such/folder")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_an_archive_is_a_mirror_on_a_cluster_without_a_network(
    register: Callable[..., RegistryEntry], tmp_path: Path, kind: str
) -> None:
    """The file is taken out of whatever folder of the archive it lies in, and compared."""
    entry, path = register(), tmp_path / f"models.{kind}"
    (tmp_path / entry.file).write_bytes(CONTENT)
    (tmp_path / "other.h5").write_bytes(b"other")
    members = {f"models/{name}": tmp_path / name for name in (entry.file, "other.h5")}
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, file in members.items():
                packed.write(file, name)
    else:
        with tarfile.open(path, "w:gz" if kind.endswith("gz") else "w") as tar:
            for name, file in members.items():
                tar.add(file, name)
    assert get_model("brainy", offline=True, mirror=str(path)).path.read_bytes() == CONTENT


def test_an_archive_that_has_it_not_or_is_none_is_a_sentence(
    register: Callable[..., RegistryEntry], tmp_path: Path
) -> None:
    """Missing, damaged, or another file of that name."""
    entry, path = register(), tmp_path / "models.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("other.h5", b"other")
    with pytest.raises(ModelError, match=r"expected one file .* but it has none"):
        get_model("brainy", mirror=str(path))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match="expected an archive"):
        get_model("brainy", mirror=str(path))
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(entry.file, b"another")
    with pytest.raises(ModelError, match="expected the published sha256"):
        get_model("brainy", mirror=str(path))


def test_a_file_of_the_hub_comes_from_its_endpoint_with_its_token(
    server: Server, register: Callable[..., RegistryEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HF_ENDPOINT is asked in the place of huggingface.co; nobody else is given the token."""
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "secret")
    register(url=f"{HUB}/w.h5")
    assert get_model("brainy").path.read_bytes() == CONTENT
    assert server.asked == [("/files/somebody/tiny/resolve/main/w.h5", None)]
    assert server.authorised == ["Bearer secret"]
    find_model("brainy").path.unlink()
    get_model("brainy", mirror=server.address)
    assert server.authorised[1:] == [None]


def test_the_token_is_not_carried_to_where_the_hub_leads(
    server: Server, register: Callable[..., RegistryEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Hub keeps large files on servers of others."""
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "secret")
    register(url=f"{HUB}/w.h5")
    with Server() as other:
        server.leads_to = f"{other.address}/elsewhere".replace("127.0.0.1", "localhost")
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            assert get_model("brainy").path.read_bytes() == CONTENT
        finally:
            other.shutdown()
            thread.join()
        assert other.authorised == [None]


def _serve(server: Server, model: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    server.content, server.status = b"", 200
    for path in model.path.iterdir():
        server.contents[f"somebody/tiny/resolve/main/{path.name}"] = path.read_bytes()


def test_a_model_folder_of_the_hub_is_installed_under_its_own_name(
    server: Server, model: ModelFolder, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """model.toml first, then what it lists, each by its sha256; nothing else is asked for."""
    _serve(server, model, monkeypatch)
    found = get_model("hf://somebody/tiny")
    assert isinstance(found, ModelFolder)
    assert (found.path, found.sha256) == (home / "tiny", model.sha256)
    assert verify_model("tiny") == model.description.files
    asked = [path.rpartition("/")[2] for path, _ in server.asked]
    assert asked == ["model.toml", *model.description.files]
    assert not list(home.glob(".hub-*/*"))


def test_a_file_of_the_hub_that_is_not_what_its_description_says_installs_nothing(
    server: Server, model: ModelFolder, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """What was right stays, and the next time only the rest is fetched."""
    _serve(server, model, monkeypatch)
    place = "somebody/tiny/resolve/main/weights.safetensors"
    right = server.contents[place]
    server.contents[place] = right[:-1] + b"!"
    with pytest.raises(ModelError, match="expected the published sha256"):
        get_model("hf://somebody/tiny@main")
    assert not (home / "tiny").exists()
    server.contents[place], server.asked = right, []
    assert get_model("hf://somebody/tiny@main").name == "tiny"
    asked = {path.rpartition("/")[2] for path, _ in server.asked}
    assert asked == {"model.toml", "weights.safetensors", "README.md"}


def test_a_model_of_the_hub_without_a_revision_stays_what_it_was_at_first(
    server: Server, model: ModelFolder, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """The sha256 of its model.toml is recorded; what `main` has later is refused, with both."""
    _serve(server, model, monkeypatch)
    get_model("hf://somebody/tiny")
    address = f"{HUB}/model.toml"
    assert recorded(address).sha256 == model.sha256  # type: ignore[union-attr]
    changed = dump_description(replace(model.description, version="2")).encode()
    server.contents["somebody/tiny/resolve/main/model.toml"] = changed
    for place in ("hf://somebody/tiny", "hf://somebody/tiny@main"):
        with pytest.raises(ModelError, match=rf"sha256 {model.sha256}.*recorded on .*thrown away"):
            get_model(place)
    assert verify_model("tiny") == model.description.files
    # A revision of its own is another address, and is recorded for itself.
    for name in ("model.toml", *model.description.files):
        main = server.contents[f"somebody/tiny/resolve/main/{name}"]
        server.contents[f"somebody/tiny/resolve/v2/{name}"] = main
    shutil.rmtree(home / "tiny")
    assert get_model("hf://somebody/tiny@v2").sha256 == sha256(changed).hexdigest()
    # Who wants what is new takes the record away, as the sentence says.
    records = encephalon_home() / "fetched.json"
    kept = {k: v for k, v in json.loads(records.read_text()).items() if k != address}
    records.write_text(json.dumps(kept))
    assert get_model("hf://somebody/tiny").sha256 == sha256(changed).hexdigest()


@pytest.mark.parametrize("place", ["hf://tiny", "hf://a/b/c", "hf://../b", "hf://a/b@"])
def test_a_place_that_is_none_of_the_hub_is_a_sentence(place: str) -> None:
    """Nothing is asked of any network."""
    with pytest.raises(ModelError, match="hf://OWNER/NAME"):
        get_model(place)


_TWO_FIRST_FETCHES = """
import sys
from dataclasses import replace
from encephalon.models.description import dump_description
from encephalon.models.download import get_model
from encephalon.models.registry import shipped_entries
entries = shipped_entries()
entries["brainy"] = replace(entries["brainy"], sha256="", size=0, url=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(get_model("brainy").sha256)
"""


def test_two_first_fetches_at_once_are_one(
    server: Server, home: Path, register: Callable[..., RegistryEntry]
) -> None:
    """Two jobs that begin together: one waits, and both have the file that was recorded."""
    words = [sys.executable, "-c", _TWO_FIRST_FETCHES, f"{server.address}/w.h5"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    jobs = [subprocess.Popen(words, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for job in jobs:
        assert job.stdout.readline() == "ready\n"
    for job in jobs:
        job.stdin.write("\n")
        job.stdin.flush()
    ended = [job.communicate(timeout=120) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], ended
    assert {told for told, _ in ended} == {f"{sha256(CONTENT).hexdigest()}\n"}
    assert len(server.asked) == 1
    records = json.loads((home.parent / "fetched.json").read_text())
    assert [one["sha256"] for one in records.values()] == [sha256(CONTENT).hexdigest()]
    register(sha256="", size=0, url=f"{server.address}/w.h5")
    assert isinstance(get_model("brainy", offline=True), PublishedFile)
