# SPDX-License-Identifier: Apache-2.0
"""What was measured: scans as slices, their geometry and profile, and how they are aligned."""
