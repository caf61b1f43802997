# SPDX-License-Identifier: Apache-2.0
"""One browser for the tests of each kind of page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reports.browser import Browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a network."""
    with Browser.started(tmp_path_factory.mktemp("browser")) as started:
        yield started
