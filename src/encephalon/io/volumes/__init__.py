# SPDX-License-Identifier: Apache-2.0
"""Volumes of any size and kind, opened by address and read box by box; OME-Zarr is written."""
