# SPDX-License-Identifier: Apache-2.0
"""Model folders and published weights: found, downloaded, verified, described, moved.

Nothing here imports torch, and listing models imports no numerical library at all.
"""
