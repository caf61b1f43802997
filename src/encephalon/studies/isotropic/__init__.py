# SPDX-License-Identifier: Apache-2.0
"""Isotropic: thick-slice T2w scans, with or without a T1w, to isotropic ones (after BABY-AI)."""
