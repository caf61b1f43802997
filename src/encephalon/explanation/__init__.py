# SPDX-License-Identifier: Apache-2.0
"""Explanation: where a network looked, whether the map can be trusted, and what else it used.

Only the maps and their sanity check need torch.
"""
