# SPDX-License-Identifier: Apache-2.0
"""Every reader of a user's file that the product has, by name."""

from __future__ import annotations

from tests.fuzz.image_readers import IMAGE_READERS

READERS = {reader.name: reader for reader in (*IMAGE_READERS,)}
