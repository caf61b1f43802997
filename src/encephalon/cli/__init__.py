# SPDX-License-Identifier: Apache-2.0
"""The command line: one module a verb, shared flags in `flags`, what it prints in `console`."""
