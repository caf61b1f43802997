# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encephalon.errors import MissingFileError, OutputExistsError, TableError
from encephalon.tables.checks import check_table
from encephalon.tables.reading import read_table, write_table
from encephalon.tables.samples import collect_samples, table_samples
from encephalon.tables.schema import Columns, Table

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
        ("t.csv", "sep=;\nid;age\na;3\n"),
        ("t.csv", '\ufeff"sep=;"\r\nid;age\r\na;3\r\n'),
        ("t.csv", "sep=|\nid|age\na|3\n"),
        ("t.csv", "\n\nid;age\na;3\n"),
    ],
)
def test_tables_of_every_dialect_read_the_same(tmp_path: Path, name: str, text: str) -> None:
    """Commas, semicolons, tabs, byte-order marks, Windows line ends, quotes, blanks, "sep=;"."""
    frame = read_table(write(tmp_path, text, name)).frame
    assert frame.to_dict("records") == [{"id": "a", "age": "3"}]


TWO_SPELLINGS = ("Jos\u00e9", "Jose\u0301")
"""The same name as keyboards write it, and as macOS often does."""


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_two_spellings_of_an_accent_are_one_animal(tmp_path: Path, suffix: str) -> None:
    """A leak between the parts is seen, and so is an id that is there twice."""
    one, same = TWO_SPELLINGS
    rows = [(one, "a.nii", one, "train"), ("b", "a.nii", same, "test")]
    frame = pd.DataFrame(rows, columns=pd.Index(["id", "image", same, "split"]))
    path = write_table(frame, tmp_path / f"table{suffix}")
    (tmp_path / "a.nii").touch()
    (leak,) = check_table(read_table(path, Columns(group=one, split="split")))
    assert "a leak" in leak.message
    table = read_table(write(tmp_path, f"id,image\n{one},a.nii\n{same},a.nii\n"))
    (twice,) = check_table(table)
    assert (twice.row, twice.column) == (3, "id")


@pytest.mark.parametrize("spelt", TWO_SPELLINGS)
@pytest.mark.parametrize("on_disk", TWO_SPELLINGS)
def test_a_file_is_found_however_its_accents_are_spelt(
    tmp_path: Path, spelt: str, on_disk: str
) -> None:
    """In a folder with such a name too; where both spellings are there, it is the one that was
    asked for."""
    (tmp_path / on_disk).mkdir()
    file = tmp_path / on_disk / f"{on_disk}.nii"
    file.touch()
    path = write(tmp_path, f"id,image\na,{spelt}/{spelt}.nii\n")
    assert check_table(table := read_table(path)) == []
    assert table.path(table.texts("image")[0]) == file
    (tmp_path / spelt).mkdir(exist_ok=True)
    both = [tmp_path / spelt / f"{one}.nii" for one in TWO_SPELLINGS]
    for one in both:
        one.touch()
    rows = "".join(f"{number},{path}\n" for number, path in enumerate(both))
    table = read_table(write(tmp_path, f"id,image\n{rows}"))
    assert [sample.inputs["image"] for sample in table_samples(table)] == both


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
@example(rows=[("u\u0308", "\U0002f800")])
@settings(max_examples=25, deadline=None)
def test_any_text_survives_the_round_trip(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Quotes, separators and accents included, as NFC has them; blanks at the ends are trimmed."""
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    names = [f"n{index}" for index in range(len(rows))]
    frame = pd.DataFrame({"id": names, "x": [a for a, _ in rows], "y": [b for _, b in rows]})
    write_table(frame, path)
    again = read_table(path)
    for column in ("x", "y"):
        wanted = [normalize("NFC", text.strip()) for text in frame[column]]
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


def test_blank_rows_of_text_are_left_out_and_counted(tmp_path: Path) -> None:
    """As Excel saves them: nothing, or nothing but separators; numbers are those it shows."""
    path = tmp_path / "t.csv"
    path.write_text("id,age\n\na,1\n,\n , \nb,x\n,,,\n")
    table = read_table(path, Columns(inputs={}, covariates={"age": "number"}))
    assert table.ids == ["a", "b"]
    assert [fault.row for fault in check_table(table)] == [6]


def test_columns_without_name_and_cells_are_left_out(tmp_path: Path) -> None:
    """Excel ends each line with the separators of columns that were once used."""
    path = tmp_path / "t.csv"
    path.write_text("id,age,,\na,1,,\nb,2\n")
    with pytest.raises(TableError, match="row 3: the header has 4 cells but this row has 2"):
        read_table(path)
    path.write_text("id,age,,\na,1,,\nb,2,,,,\n")
    assert read_table(path).frame.to_dict("list") == {"id": ["a", "b"], "age": ["1", "2"]}
    path.write_text("id,age,,\na,1,,x\n")
    with pytest.raises(TableError, match="column D has cells but no name"):
        read_table(path)
    path.write_text("id,age\na,1,x\n")
    with pytest.raises(TableError, match="row 2: the header has 2 cells but this row has 3"):
        read_table(path)


@pytest.mark.parametrize("suffix", [".xls", ".xlsm", ".xlsb", ".ods", ".XLS"])
def test_spreadsheets_that_are_not_read_are_called_so(suffix: str, tmp_path: Path) -> None:
    """They are tables, not images of an unknown kind."""
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"anything")
    with pytest.raises(TableError, match=r"spreadsheet|old Excel file"):
        collect_samples([path])


FORMULAS = ["=1+2", "+A1", "-A1", "@SUM(A1)", "=cmd|' /C calc'!A0", "'=1", "''=1"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_formulas_are_written_as_text_and_read_as_they_were(suffix: str, tmp_path: Path) -> None:
    """No cell, and no name of a column, begins as a formula does; numbers stay numbers."""
    cells = [*FORMULAS, "-1.5", "+3e-4", "a=b", "'", "'a", "-"]
    frame = pd.DataFrame({"id": cells, "=evil": cells}, dtype=object)
    path = write_table(frame, tmp_path / f"t{suffix}")
    lines = path.read_text().split("\n")
    separator = "\t" if suffix == ".tsv" else ","
    assert lines[0] == f"id{separator}'=evil"
    for line, cell in zip(lines[1:], cells, strict=False):
        number = cell in {"-1.5", "+3e-4"}
        assert number or line.strip('"')[0] not in "=+-@\t\r"
    assert read_table(path).frame.to_dict("list") == frame.to_dict("list")


def test_equal_cells_of_parquet_stay_one_in_memory(tmp_path: Path) -> None:
    """A file of kilobytes whose million rows repeat 64 kB would be 64 GB of text."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    codes = arrow.array(np.zeros(1_000_000, np.int32))
    column = arrow.DictionaryArray.from_arrays(codes, arrow.array(["x" * 65_536]))
    table = arrow.table({"id": column})
    parquet.write_table(table, tmp_path / "t.parquet")
    ids = read_table(tmp_path / "t.parquet").frame["id"]
    assert len(ids) == 1_000_000
    assert ids[0] is ids[999_999]


@pytest.mark.parametrize("rows", [1, 21_000_000])
def test_a_parquet_table_too_large_is_known_by_its_metadata(rows: int, tmp_path: Path) -> None:
    """One cell of 300 MB, and millions of equal rows: neither is unpacked."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    cells = arrow.array(["x" * 300_000_000]) if rows == 1 else arrow.array(np.zeros(rows, np.int8))
    parquet.write_table(arrow.table({"id": cells}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 20_000_000
    with pytest.raises(TableError, match="more than a table of samples has"):
        read_table(tmp_path / "t.parquet")


def test_an_index_that_pandas_named_is_a_column(tmp_path: Path) -> None:
    """One without a name is none; what pandas says of itself is not needed to read the file."""
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"id": ["a", "b"], "age": [1, 2]})
    frame.set_index("id").to_parquet(tmp_path / "named.parquet")
    assert set(read_table(tmp_path / "named.parquet").frame.columns) == {"id", "age"}
    frame.set_index(pd.Index([5, 9])).to_parquet(tmp_path / "unnamed.parquet")
    assert list(read_table(tmp_path / "unnamed.parquet").frame.columns) == ["id", "age"]
    frame.set_index(pd.Index([5, 9])).to_csv(tmp_path / "unnamed.csv")
    assert list(read_table(tmp_path / "unnamed.csv").frame.columns) == ["id", "age"]
    with pytest.raises(TableError, match="column A has cells but no name"):
        read_table(write(tmp_path, ",id\n1,a\n1,b\n"))


def test_a_pipe_or_a_link_to_nothing_is_no_table(tmp_path: Path) -> None:
    """Nobody waits for a pipe; a link that leads nowhere says how to fetch it."""
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(TableError, match="a pipe"):
        read_table(tmp_path / "pipe.csv")
