# SPDX-License-Identifier: Apache-2.0
"""From a model and files to predictions on disk: runtimes, tiles, batches, sidecars."""

from __future__ import annotations
