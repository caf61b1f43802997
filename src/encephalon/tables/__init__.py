# SPDX-License-Identifier: Apache-2.0
"""Tables of samples: their columns, checks, joins, splits, and the leakage audit.

Names are loaded when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encephalon._lazy import lazy

if TYPE_CHECKING:
    from encephalon.tables.bids import bids_table
    from encephalon.tables.checks import check_table, checked, fault_message
    from encephalon.tables.encoding import (
        covariate_names,
        covariate_width,
        encode_classes,
        encode_covariates,
        fit_scaling,
    )
    from encephalon.tables.folder import folder_table
    from encephalon.tables.joins import join_tables
    from encephalon.tables.labels import map_labels, verify_labels
    from encephalon.tables.leakage import LeakageReport, audit, require_clean
    from encephalon.tables.naming import file_id, file_stem
    from encephalon.tables.reading import is_table, read_table, write_table
    from encephalon.tables.samples import Sample, collect_samples, table_samples
    from encephalon.tables.schema import Columns, Fault, Table
    from encephalon.tables.splits import (
        SplitOptions,
        fold_table,
        rows_with_scans,
        split_table,
        unseen_rows,
        use_fold,
    )

__all__ = [
    "Columns",
    "Fault",
    "LeakageReport",
    "Sample",
    "SplitOptions",
    "Table",
    "audit",
    "bids_table",
    "check_table",
    "checked",
    "collect_samples",
    "covariate_names",
    "covariate_width",
    "encode_classes",
    "encode_covariates",
    "fault_message",
    "file_id",
    "file_stem",
    "fit_scaling",
    "fold_table",
    "folder_table",
    "is_table",
    "join_tables",
    "map_labels",
    "read_table",
    "require_clean",
    "rows_with_scans",
    "split_table",
    "table_samples",
    "unseen_rows",
    "use_fold",
    "verify_labels",
    "write_table",
]

__getattr__ = lazy(
    __name__,
    {
        "bids": ("bids_table",),
        "checks": ("check_table", "checked", "fault_message"),
        "encoding": (
            "covariate_names",
            "covariate_width",
            "encode_classes",
            "encode_covariates",
            "fit_scaling",
        ),
        "folder": ("folder_table",),
        "joins": ("join_tables",),
        "labels": ("map_labels", "verify_labels"),
        "leakage": ("LeakageReport", "audit", "require_clean"),
        "naming": ("file_id", "file_stem"),
        "reading": ("is_table", "read_table", "write_table"),
        "samples": ("Sample", "collect_samples", "table_samples"),
        "schema": ("Columns", "Fault", "Table"),
        "splits": (
            "SplitOptions",
            "fold_table",
            "rows_with_scans",
            "split_table",
            "unseen_rows",
            "use_fold",
        ),
    },
)
