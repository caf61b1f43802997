# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encephalon.errors import MissingFileError, OutputExistsError, TableError
from encephalon.tables import Columns, Table, read_table, write_table

CELLS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn"]), max_size=8
)


def write(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_ids_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    """Subject 007 does not become 7."""
    table = read_table(write(tmp_path, "id,image\n007,a.nii\n1e3,b.nii\n"))
    assert table.ids == ["007", "1e3"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "id,age\na,3\n"),
        ("t.csv", "id;age\na;3\n"),
        ("t.csv", "\ufeffid,age\r\na,3\r\n"),
        ("t.tsv", "id\tage\na\t3\n"),
        ("t.csv", 'id,"age"\n"a"," 3 "\n\n'),
    ],
)
def test_tables_of_every_dialect_read_the_same(tmp_path: Path, name: str, text: str) -> None:
    """Commas, semicolons, tabs, a byte-order mark, Windows line ends, quotes, a blank line."""
    frame = read_table(write(tmp_path, text, name)).frame
    assert frame.to_dict("records") == [{"id": "a", "age": "3"}]


@pytest.mark.parametrize("cell", ["", " ", "n/a", "NA", "nan"])
def test_empty_cells_are_none(tmp_path: Path, cell: str) -> None:
    """The spellings of BIDS, R and pandas for nothing."""
    table = read_table(write(tmp_path, f"id,age\na,{cell}\n"))
    assert table.frame["age"][0] is None
    assert table.texts("age") == [""]


def test_paths_start_from_the_folder_of_the_table(tmp_path: Path) -> None:
    """A table can be moved together with its images."""
    table = read_table(write(tmp_path, "id,image\na,sub/x.nii\n"))
    assert table.path("sub/x.nii") == tmp_path / "sub" / "x.nii"
    assert table.path("/data/x.nii") == Path("/data/x.nii")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("id,image\n", "no rows"),
        ("id,age,age\na,1,2\n", "'age' is there more than once"),
        ("id,age\na,1\nb,2,3\n", "row 3: the header has 2 cells but this row has 3"),
        ("id,age\na\n", "row 2: the header has 2 cells but this row has 1"),
        ('id,age\n"a,1\n', "cannot be read"),
    ],
)
def test_a_broken_table_is_refused_with_its_row(tmp_path: Path, text: str, words: str) -> None:
    """The sentence names the file and, where there is one, the row."""
    path = write(tmp_path, text)
    with pytest.raises(TableError, match=words) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


def test_a_missing_table_and_another_kind_of_file_are_refused(tmp_path: Path) -> None:
    """What cannot be read says what can."""
    with pytest.raises(MissingFileError, match=r"no table .*table\.csv"):
        read_table(tmp_path / "table.csv")
    with pytest.raises(TableError, match="must end in"):
        read_table(write(tmp_path, "x", "table.ods"))
    with pytest.raises(TableError, match=r"an old Excel file: .* \.parquet or \.xlsx"):
        read_table(write(tmp_path, "x", "table.xls"))


def test_binary_rubbish_is_refused(tmp_path: Path) -> None:
    """An image renamed to .csv gives a sentence."""
    path = tmp_path / "t.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(TableError, match="cannot be read"):
        read_table(path)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_what_is_written_reads_back(tmp_path: Path, name: str) -> None:
    """A round trip keeps text, order and empty cells."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"id": ["01", "b"], "age": [None, "3.5"]}, dtype=object)
    write_table(frame, tmp_path / name)
    assert read_table(tmp_path / name).frame.to_dict("records") == frame.to_dict("records")


@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_text_survives_the_round_trip(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Quotes, separators and accents included; only blanks at the ends are trimmed."""
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    names = [f"n{index}" for index in range(len(rows))]
    frame = pd.DataFrame({"id": names, "x": [a for a, _ in rows], "y": [b for _, b in rows]})
    write_table(frame, path)
    again = read_table(path)
    for column in ("x", "y"):
        wanted = [text.strip() for text in frame[column]]
        nothing = {"", "n/a", "N/A", "NA", "nan", "NaN"}
        assert again.texts(column) == ["" if text in nothing else text for text in wanted]


def test_parquet_numbers_become_text_without_a_spurious_point(tmp_path: Path) -> None:
    """A gap turns whole numbers into floats; ids must not become 7.0."""
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"id": ["a", "b"], "person": [7, None], "age": [1.5, 2.0]})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").frame.to_dict("records") == [
        {"id": "a", "person": "7", "age": "1.5"},
        {"id": "b", "person": None, "age": "2"},
    ]


def test_writing_replaces_nothing_unless_told(tmp_path: Path) -> None:
    """An existing table is safe."""
    frame = pd.DataFrame({"id": ["a"]})
    path = write_table(frame, tmp_path / "t.csv")
    with pytest.raises(OutputExistsError):
        write_table(frame, path)
    write_table(pd.DataFrame({"id": ["b"]}), path, overwrite=True)
    assert read_table(path).ids == ["b"]


def test_a_part_holds_the_rows_of_its_name(tmp_path: Path) -> None:
    """Parts follow the split column and leave the order alone."""
    path = write(tmp_path, "id,split\na,train\nb,test\nc,train\n")
    table = read_table(path, Columns(split="split"))
    assert table.part("train").ids == ["a", "c"]
    assert len(table.part("validation")) == 0
    with pytest.raises(TableError, match="has no split column"):
        read_table(path, Columns()).part("train")


def test_numbers_are_nan_where_a_cell_is_empty(tmp_path: Path) -> None:
    """Missing covariates stay missing."""
    table: Table = read_table(write(tmp_path, "id,age\na,3.5\nb,\n"))
    values = table.numbers("age")
    assert values[0] == 3.5
    assert values[1] != values[1]
    with pytest.raises(TableError, match="has no column 'sex'"):
        table.numbers("sex")
