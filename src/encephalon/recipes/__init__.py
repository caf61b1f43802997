# SPDX-License-Identifier: Apache-2.0
"""Recipes: what is trained, on what, and how, as plain TOML; the built-in ones lie here."""
