# SPDX-License-Identifier: Apache-2.0
"""Microtomography: a benchmark of what representations know about brain structure (MTNeuro)."""
