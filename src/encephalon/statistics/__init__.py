# SPDX-License-Identifier: Apache-2.0
"""Statistics: estimates with their intervals, comparisons, subgroups, and summaries of tables.

A result table is a list of plain dictionaries, one a sample, so the same intervals and comparisons
serve masks, classes and numbers.
"""
