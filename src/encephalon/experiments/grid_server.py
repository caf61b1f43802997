# SPDX-License-Identifier: Apache-2.0
"""The dashboard of a grid while it runs: a server for this machine alone, whose page asks for news.

It reads the folder of the grid and writes nothing. Beside the page there is what it links, the
pages and the card of each cell, and nothing else: no folder is listed, and no other file is shown.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from encephalon.errors import EncephalonError, OutputError
from encephalon.experiments.analyses import analyse
from encephalon.experiments.dashboard import dashboard_data, with_status
from encephalon.experiments.grid_folder import CELLS, REPORT, CellState, GridFolder, GridStatus
from encephalon.experiments.results_table import ResultsTable
from encephalon.io.atomic import json_text
from encephalon.reports.dashboard import dashboard_page, need_scripts
from encephalon.reports.page import Page

__all__ = ["grid_server"]

logger = logging.getLogger(__name__)
#: Only from here, under whatever name: a page of somebody else's must not read it.
HOST, NAMES = "127.0.0.1", {"127.0.0.1", "localhost"}
PAGE, DATA = f"/{REPORT}/dashboard.html", f"/{REPORT}/dashboard.json"
#: What the page links of a cell; for the folder of its model there is its card.
MODEL = "run/model"
LINKED = {f"{MODEL}/README.md", "run/report.html", "evaluation/report.html"}
#: Seconds between questions for news.
OFTEN = 3.0
WAIT = f"setTimeout(() => location.reload(), {1000 * OFTEN});"

Results = Callable[[Sequence[CellState]], ResultsTable]


def grid_server(folder: GridFolder, results: Results, port: int) -> ThreadingHTTPServer:
    """A server that is ready for `serve_forever`; `port` 0 takes any that is free.

    results  the results of finished cells, as their study tells them

    Raises MissingFileError for a folder without a grid, MissingExtraError without the extra `grid`,
    and OutputError for a port that is taken.
    """
    folder.status()
    need_scripts()
    handler = partial(_Handler, _News(folder, results), directory=str(folder.path))
    try:
        return _Server((HOST, port), handler)
    except OSError as error:
        raise OutputError(
            f"{HOST}:{port} cannot be served ({error.strerror}): choose another --port."
        ) from error


class _Server(ThreadingHTTPServer):
    def handle_error(self, *who: object) -> None:
        """A browser that leaves in the middle of an answer is no fault of anybody's."""
        logger.debug("%s was not answered", who, exc_info=True)


class _News:
    """What is known of the grid; analysed aside when cells were finished, once at a time."""

    def __init__(self, folder: GridFolder, results: Results) -> None:
        self._folder, self._results, self._lock = folder, results, Lock()
        self._done: frozenset[str] = frozenset()
        self._data: dict[str, Any] | None = None
        self._work: Thread | None = None

    def data(self) -> tuple[GridStatus, dict[str, Any] | None]:
        """How the grid is, and what the page shows of it; None before anything is known."""
        status = self._folder.status()
        names = frozenset(cell.name for cell in status.of("done"))
        with self._lock:
            at_work = self._work is not None and self._work.is_alive()
            if names and names != self._done and not at_work:
                self._done = names
                self._work = Thread(target=self._analyse, args=(status,), daemon=True)
                self._work.start()
        return status, None if self._data is None else with_status(self._data, status)

    def _analyse(self, status: GridStatus) -> None:
        try:
            found = analyse(self._results(status.of("done")))
            self._data = dashboard_data(found, self._folder.report, status, live=OFTEN)
        except EncephalonError as error:
            logger.warning("%s: what is done is not shown: %s", self._folder.path, error)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, news: _News, *args: Any, **more: Any) -> None:
        self.news = news
        # A card is shown, where a browser would save it otherwise.
        self.extensions_map = {".html": "text/html", ".md": "text/plain; charset=utf-8"}
        super().__init__(*args, **more)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        known = self.headers.get("Host", "").rpartition(":")[0] in NAMES
        if not known:
            self.send_error(HTTPStatus.FORBIDDEN, "ask for it by 127.0.0.1")
        return known

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", PAGE)
            self.end_headers()
        elif path in {PAGE, DATA}:
            self._tell(path)
        else:
            super().do_GET()

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        place = Path(self.translate_path(self.path)).relative_to(self.directory)
        asked = Path(*place.parts[2:]).as_posix()
        if asked == MODEL:
            self.path = f"{urlsplit(self.path).path.rstrip('/')}/README.md"
        elif place.parts[:1] != (CELLS,) or asked not in LINKED:
            self.send_error(HTTPStatus.NOT_FOUND, explain="the page does not link it")
            return None
        return super().send_head()

    def _tell(self, path: str) -> None:
        try:
            status, data = self.news.data()
        except EncephalonError as error:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, explain=str(error))
            return
        if path == PAGE:
            page = dashboard_page(data, served=True) if data else _waiting(status)
            self._send("text/html", page.render())
        elif data is None or self.headers.get("If-None-Match") == data["version"]:
            self._send("application/json", "", HTTPStatus.NOT_MODIFIED)
        else:
            self._send("application/json", json_text(data))

    def _send(self, kind: str, text: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def _waiting(status: GridStatus) -> Page:
    done = len(status.of("done"))
    lead = f"{done} of {len(status.cells)} cells done: this page shows the first as soon as it can."
    title = status.title or status.grid
    return Page(title, kicker="Encephalon · grid", lead=lead, scripts=[WAIT])
