# SPDX-License-Identifier: Apache-2.0
"""What is asked of a server leaves no connection open."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest

from encephalon.io.http import Patience, RefusedError, download
from tests.file_server import Server, server

__all__ = ["server"]


def test_an_answer_that_comes_too_late_is_closed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server drips lines of a header past the time limit, and then ends it."""
    requests = pytest.importorskip("requests")
    came, closed = Event(), Event()

    class Answer(requests.Response):  # type: ignore[misc, name-defined]
        def close(self) -> None:
            super().close()
            closed.set()

    def get(*asked: Any, **how: Any) -> Any:
        answer = real(*asked, **how)
        answer.__class__ = Answer
        came.set()
        return answer

    real = requests.get
    monkeypatch.setattr(requests, "get", get)
    server.drips = True
    with pytest.raises(RefusedError, match=r"no whole answer came within 0\.1 s"):
        download(server.address, tmp_path / "file", patience=Patience(attempts=1, answer=0.1))
    assert not came.is_set()
    server.closing.set()
    assert came.wait(20)
    assert closed.wait(20)
