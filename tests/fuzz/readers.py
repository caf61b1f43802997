# SPDX-License-Identifier: Apache-2.0
"""Every reader of a user's file that the product has, by name."""

from __future__ import annotations

from tests.fuzz.image_readers import IMAGE_READERS
from tests.fuzz.model_readers import MODEL_READERS
from tests.fuzz.table_readers import TABLE_READERS

READERS = {reader.name: reader for reader in (*IMAGE_READERS, *TABLE_READERS, *MODEL_READERS)}
