# SPDX-License-Identifier: Apache-2.0
"""Experiments: many trainings of one recipe, such as folds and trials, and what they show."""
