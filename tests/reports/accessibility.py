# SPDX-License-Identifier: Apache-2.0
"""What axe-core, the checker of accessibility, has to say of a page."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.reports.browser import Browser

RUN = """axe.run(document, { resultTypes: ["violations"] }).then((found) =>
    found.violations.map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 200)}`))"""


def violations(browser: Browser) -> list[str]:
    """Every rule that the page breaks, with an element that does."""
    found = find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("needs axe-core-python: make install")
    script = Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")
    # By the protocol, since the policy of the page lets no other script in.
    browser.call("Runtime.evaluate", expression=script)
    return list(browser.run(RUN))
