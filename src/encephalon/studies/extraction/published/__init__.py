# SPDX-License-Identifier: Apache-2.0
"""Nobrainer's brain and meningioma networks, reproduced as published."""
