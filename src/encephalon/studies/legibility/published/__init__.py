# SPDX-License-Identifier: Apache-2.0
"""The published study, as its released script does it."""
