# SPDX-License-Identifier: Apache-2.0
"""Micrographs: classify single 2-D images, with covariates, honestly (3BTRON and its kin)."""
