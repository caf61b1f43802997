# SPDX-License-Identifier: Apache-2.0
"""Synthetic anatomy with its truth, for demos, tests and training."""
