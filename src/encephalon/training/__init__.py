# SPDX-License-Identifier: Apache-2.0
"""Training: from a recipe and a table to a model folder, with an exact resume."""
