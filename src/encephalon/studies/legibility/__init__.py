# SPDX-License-Identifier: Apache-2.0
"""What can be read of a person from which images, connectivity and tables."""
