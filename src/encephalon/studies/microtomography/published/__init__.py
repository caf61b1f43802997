# SPDX-License-Identifier: Apache-2.0
"""What was published of MTNeuro: its scores."""
