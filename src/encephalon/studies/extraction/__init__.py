# SPDX-License-Identifier: Apache-2.0
"""Brain extraction, and what is segmented the same way: heads in, masks on their own grid out."""

from __future__ import annotations
