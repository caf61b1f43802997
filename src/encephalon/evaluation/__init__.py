# SPDX-License-Identifier: Apache-2.0
"""Evaluation: from a table and a model to predictions, scores, intervals and their page."""
