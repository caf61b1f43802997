# SPDX-License-Identifier: Apache-2.0
"""Who is served the page of a grid that runs, and what beside it."""

from __future__ import annotations

from http.client import HTTPConnection, RemoteDisconnected
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread

import pytest

from encephalon.errors import MissingFileError, OutputError
from encephalon.experiments.grid import Cell
from encephalon.experiments.grid_cells import finish_cell
from encephalon.experiments.grid_folder import GridFolder
from encephalon.experiments.grid_server import grid_server
from tests.experiments.test_grid import AXES, Steps, cells, grid

pytestmark = pytest.mark.skipif(not find_spec("gravis"), reason="needs the extra grid")


def laid(folder: Path) -> tuple[GridFolder, list[Cell]]:
    """The folder of a grid of four cells, none of them done."""
    made, place = cells(folder, AXES), GridFolder(folder / "out")
    with place.opened(grid(folder), made):
        return place, made


def test_nobody_but_this_machine_is_served(tmp_path: Path) -> None:
    """A page of another site may use a name that leads here, and a port is had once."""
    with pytest.raises(MissingFileError, match="not the folder of a grid"):
        grid_server(GridFolder(tmp_path), lambda _: pytest.fail("asked for results"), 0)
    place, _ = laid(tmp_path)
    server = grid_server(place, lambda _: pytest.fail("asked for results"), 0)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert server.server_address[0] == "127.0.0.1"
        told = {}
        for host in ("127.0.0.1", "localhost", "elsewhere.example"):
            for verb in ("GET", "HEAD"):
                asked = HTTPConnection("127.0.0.1", server.server_port)
                asked.request(verb, "/", headers={"Host": f"{host}:{server.server_port}"})
                told[host, verb] = asked.getresponse().status
        refused = {place for place, status in told.items() if status == 403}
        assert refused == {("elsewhere.example", "GET"), ("elsewhere.example", "HEAD")}
        assert told["localhost", "GET"] == 302
        with pytest.raises(OutputError, match="choose another --port"):
            grid_server(place, lambda _: pytest.fail("asked for results"), server.server_port)
    finally:
        server.shutdown()
        server.server_close()


def test_what_the_page_links_is_served_and_nothing_else(tmp_path: Path) -> None:
    """No list of a folder, no lock, no table of people, no image, nothing beside the grid."""
    place, (one, *_) = laid(tmp_path)
    finish_cell(one, place.place(one), Steps())
    cell = f"/cells/{one.folder}"
    (place.place(one) / "run" / "model" / "README.md").write_text("# Größe", encoding="utf-8")
    (tmp_path / "secret.txt").touch()
    server = grid_server(place, lambda _: pytest.fail("asked for results"), 0)
    Thread(target=server.serve_forever, daemon=True).start()

    def told(path: str, verb: str = "GET") -> tuple[int, bytes]:
        asked = HTTPConnection("127.0.0.1", server.server_port)
        asked.request(verb, path)
        answer = asked.getresponse()
        return answer.status, answer.read()

    try:
        for path in ("", "?a=b#c", "README.md"):
            assert told(f"{cell}/run/model/{path}") == (200, "# Größe".encode())
        assert told(f"{cell}/run/report.html")[0] == 200
        hidden = [f"{cell}{path}" for path in ("", "/", "/run/", "/.cell.lock", "/run/recipe.toml")]
        out = ["/../secret.txt", "/%2e%2e/secret.txt", "//secret.txt", "/cells/../grid.json"]
        hidden += [*out, "/.grid.lock", "/grid.json", "/cells/", "/report/", "/%00", "/cells/%ff/x"]
        hidden += [f"{cell}/run/report.html/", f"{cell}/run/model/../recipe.toml", "/cells"]
        for path in hidden:
            assert [told(path, verb)[0] for verb in ("GET", "HEAD")] == [404, 404], path
    finally:
        server.shutdown()
        server.server_close()


def test_who_leaves_in_the_middle_of_an_answer_is_no_fault_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page that is loaded anew does."""
    place, _ = laid(tmp_path)
    left = Event()

    def leave(*_: object) -> None:
        left.set()
        raise BrokenPipeError

    server = grid_server(place, lambda _: pytest.fail("asked for results"), 0)
    monkeypatch.setattr(server.RequestHandlerClass.func, "_tell", leave)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        asked = HTTPConnection("127.0.0.1", server.server_port)
        asked.request("GET", "/report/dashboard.html")
        with pytest.raises(RemoteDisconnected):
            asked.getresponse()
        assert left.is_set()
    finally:
        server.shutdown()
        server.server_close()
    assert capsys.readouterr().err == ""
