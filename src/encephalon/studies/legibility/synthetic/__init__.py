# SPDX-License-Identifier: Apache-2.0
"""A cohort that nobody belongs to, whose targets are told by known shares."""
