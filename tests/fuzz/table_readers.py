# SPDX-License-Identifier: Apache-2.0
"""Tables, datasets and what is noted beside images, for the fuzzer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tests.fuzz.crafted_images import hostile_json
from tests.fuzz.crafted_models import crafted_sheets, crafted_tables
from tests.fuzz.reader import Reader, Seed

_FRAME = pd.DataFrame(
    {
        "id": ["a1", "a2", "b é"],
        "image": ["a1.tif", "x/a2.tif", "b.tif"],
        "age": ["3", "4.5", ""],
        "group": ["m1", "m1", "m2"],
    }
)


def _table(path: Path) -> Any:
    from encephalon.tables.reading import read_table
    from encephalon.tables.samples import table_samples

    return table_samples(read_table(path))


def _text(folder: Path) -> Sequence[Seed]:
    _FRAME.to_csv(folder / "a.csv", index=False)
    _FRAME.to_csv(folder / "b.csv", index=False, sep=";", encoding="utf-8-sig")
    _FRAME.to_csv(folder / "c.tsv", index=False, sep="\t")
    return [Seed(folder / name) for name in ("a.csv", "b.csv", "c.tsv")]


def _excel(folder: Path) -> Sequence[Seed]:
    _FRAME.to_excel(folder / "a.xlsx", index=False)
    return [Seed(folder / "a.xlsx")]


def _parquet(folder: Path) -> Sequence[Seed]:
    _FRAME.to_parquet(folder / "a.parquet")
    _FRAME.to_parquet(folder / "b.parquet", index=False, compression="zstd")
    return [Seed(folder / "a.parquet"), Seed(folder / "b.parquet")]


def _predictions(folder: Path) -> Sequence[Seed]:
    rows = {
        "id": ["a", "b"],
        "model": ["tiny 1.0", "tiny 1.0"],
        "source": ["a.nii.gz", "b.nii.gz"],
        "volume_ml": ["1402.5", ""],
        "quality": ["ok", "failed"],
        "reasons": ["", "it is empty"],
        "seconds": ["3.2", "0.1"],
        "error": ["", "b.nii.gz: the file is empty."],
    }
    pd.DataFrame(rows).to_csv(folder / "predictions.csv", index=False)
    return [Seed(folder / "predictions.csv")]


def _rows(path: Path) -> Any:
    from encephalon.inference.predictions_table import read_rows, typed

    return [typed(row) for row in read_rows(path)]


def _dataset(folder: Path) -> Sequence[Seed]:
    home = folder / "dataset"
    anat = home / "sub-01" / "anat"
    anat.mkdir(parents=True)
    for suffix in (".nii.gz", ".json"):
        (anat / f"sub-01_T1w{suffix}").write_text('{"RepetitionTime": 2.3}', encoding="utf-8")
    record = {"Name": "Mine", "BIDSVersion": "1.8.0", "Authors": ["A", "B"], "License": "CC0"}
    (home / "dataset_description.json").write_text(json.dumps(record), encoding="utf-8")
    return [Seed(home, victims=("dataset_description.json",))]


def _described(path: Path) -> Any:
    from encephalon.io.bids import index_bids, read_description

    return read_description(path), index_bids(path)


def _beside(folder: Path) -> Sequence[Seed]:
    home = folder / "masks"
    home.mkdir()
    (home / "a.nii.gz").write_bytes(b"never read")
    (home / "b.nii.gz").write_bytes(b"never read")
    record = {"GeneratedBy": [{"Name": "Encephalon"}], "Sources": ["a.nii.gz"], "x": [1, 2.5, None]}
    (home / "b.json").write_text(json.dumps(record), encoding="utf-8")
    return [Seed(home, victims=("b.json",))]


def _collected(path: Path) -> Any:
    from encephalon.tables.samples import collect_samples

    return collect_samples([path])


def _hostile_descriptions(folder: Path) -> dict[str, Path]:
    found = {}
    for name, write in hostile_json().items():
        (folder / name).mkdir()
        home = _dataset(folder / name)[0].root
        (home / "dataset_description.json").unlink()
        write(home / "dataset_description.json")
        found[name] = home
    return found


def _hostile_sidecars(folder: Path) -> dict[str, Path]:
    found = {}
    for name, write in hostile_json().items():
        (folder / name).mkdir()
        home = _beside(folder / name)[0].root
        (home / "b.json").unlink()
        write(home / "b.json")
        found[name] = home
    return found


TABLE_READERS = (
    Reader("CSV and TSV", _text, _table, crafted_tables),
    Reader("XLSX", _excel, _table, crafted_sheets, needs=("openpyxl",)),
    Reader("Parquet", _parquet, _table, needs=("pyarrow",)),
    Reader("predictions.csv", _predictions, _rows),
    Reader("BIDS description", _dataset, _described, _hostile_descriptions),
    Reader("sidecar of a volume", _beside, _collected, _hostile_sidecars),
)
