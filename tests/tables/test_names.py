# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

from encephalon import tables


def test_every_public_name_is_there_and_sorted() -> None:
    """The lazy table and the list of names agree."""
    assert tables.__all__ == sorted(tables.__all__)
    assert all(getattr(tables, name) is not None for name in tables.__all__)
    with pytest.raises(AttributeError, match="no attribute 'read_tabel'"):
        _ = tables.read_tabel


def test_importing_the_package_imports_nothing_heavy() -> None:
    """pandas and scikit-learn wait until a table is read or split."""
    code = (
        "import sys, encephalon.tables;"
        "sys.exit(any(name in sys.modules for name in ('pandas', 'sklearn', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
