# SPDX-License-Identifier: Apache-2.0
"""`python -m encephalon` is the command `encephalon`."""

from __future__ import annotations

import sys

from encephalon.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
