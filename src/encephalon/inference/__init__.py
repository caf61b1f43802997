# SPDX-License-Identifier: Apache-2.0
"""Inference: from a model and files to predictions on disk: runtimes, tiles, batches, sidecars."""
