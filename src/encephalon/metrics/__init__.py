# SPDX-License-Identifier: Apache-2.0
"""Metrics: how good a mask, an image or a class is, from plain arrays."""
