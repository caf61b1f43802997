# SPDX-License-Identifier: Apache-2.0
"""Tables of samples: their columns, checks, joins, splits, and the leakage audit."""
