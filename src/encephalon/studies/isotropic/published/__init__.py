# SPDX-License-Identifier: Apache-2.0
"""BABY-AI, reproduced as published."""
