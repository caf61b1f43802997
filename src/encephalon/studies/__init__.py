# SPDX-License-Identifier: Apache-2.0
"""What only one system needs: a room for each, found by name."""

from __future__ import annotations

from encephalon.studies.registry import list_studies, load_study

__all__ = ["list_studies", "load_study"]
