# SPDX-License-Identifier: Apache-2.0
"""Recipes, weights, zips and tables that no mutation would find."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path

_GIBIBYTES = 3 << 30


def crafted_recipes(folder: Path) -> dict[str, Path]:
    """TOML that is nested, long, or of many parts."""
    texts = {
        "nested": "a = " + "[" * 500 + "]" * 500,
        "nested beyond Python": "a = " + "[" * 100_000,
        "nested tables": "a = " + "{b = " * 500 + "1" + "}" * 500,
        "of many digits": "a = " + "9" * 5000,
        "a key of many parts": ".".join(["a"] * 50_000) + " = 1",
        "a section of many parts": "[" + ".".join(["a"] * 50_000) + "]",
        "many sections": "".join(f"[s{n}]\n" for n in range(100_000)),
        "endless": "name = '" + "a" * 3_000_000 + "'",
        "infinite": "[training]\nlearning_rate = inf\nepochs = nan\n",
        "dates": "a = 1979-05-27T07:32:00Z\nname = 07:32:00\n",
        "of lines": 'name = """a\nb\r\nc"""\n',
    }
    return _texts(folder, texts, ".toml") | _sparse(folder, "a.toml", b"name = 'a'\n")


def crafted_weights(folder: Path) -> dict[str, Path]:
    """Files of safetensors whose headers lie."""
    wrong = {
        "float8": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]},
        "unknown": {"dtype": "X9", "shape": [4], "data_offsets": [0, 4]},
        "huge and empty": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]},
        "overflowing": {"dtype": "F32", "shape": [1 << 63, 0], "data_offsets": [0, 0]},
        "of many axes": {"dtype": "F32", "shape": [1] * 200, "data_offsets": [0, 4]},
        "negative": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        "backwards": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        "beyond the end": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]},
    }
    found = {}
    for name, entry in wrong.items():
        header = json.dumps({"a": entry}).encode()
        found[name] = folder / f"{name}.safetensors"
        found[name].write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    for name, length in {"a header of exabytes": 1 << 62, "a header of zeros": 8}.items():
        found[name] = folder / f"{name}.safetensors"
        found[name].write_bytes(struct.pack("<Q", length) + bytes(8))
    return found | _sparse(folder, "a.safetensors", struct.pack("<Q", 2) + b"{}")


def crafted_zips(folder: Path) -> dict[str, Path]:
    """Archives with names that stray, are too long or empty, and members that are damaged."""
    names = ["../x", "/x", "a/../../x", "C:\\x", "x\0y", "", ".", "a" * 300, "a\nb", "model.toml/x"]
    found = {}
    for number, name in enumerate(names):
        found[f"name {number}"] = folder / f"name {number}.zip"
        with zipfile.ZipFile(found[f"name {number}"], "w") as archive:
            archive.writestr("model.toml", "name = 'a'")
            archive.writestr(zipfile.ZipInfo(name), b"x")
    for name, kind in {"lzma": zipfile.ZIP_LZMA, "bzip2": zipfile.ZIP_BZIP2}.items():
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", kind) as archive:
            archive.writestr("model.toml", "name = 'a'\n" * 99)
        content = bytearray(stream.getvalue())
        content[50:60] = b"\xff" * 10
        found[name] = folder / f"{name}.zip"
        found[name].write_bytes(content)
    return found


def crafted_tables(folder: Path) -> dict[str, Path]:
    """CSV of many columns, of one line, of strange cells."""
    texts = {
        "many columns": ",".join(f"c{n}" for n in range(20_000)) + "\n" + "1," * 19_999 + "1\n",
        "quote without end": 'id,image\n"a,' + "b" * 1_000_000,
        "one long line": "id," + "x" * 3_000_000,
        "lost homes": "id,image\na,~nobody99/x.png\n",
        "long names": f"id,image\n{'a' * 300},{'b' * 5000}.tif\n",
        "nothing": "\n\n,,\n",
        "header alone": "id,image\n",
        "same columns": "id,id\n1,2\n",
        "controls": "id,image\na\x1b]0;x\x07,b\x00.tif\n",
    }
    found = _texts(folder, texts, ".csv") | _sparse(folder, "a.csv", b"id,image\n")
    os.mkfifo(folder / "pipe.csv")
    (folder / "endless.csv").symlink_to("/dev/zero")
    return found | {name: folder / f"{name}.csv" for name in ("pipe", "endless")}


def crafted_sheets(folder: Path) -> dict[str, Path]:
    """Excel files of one cell at the far end, of formulas, of nothing."""
    import openpyxl

    found = {}
    for name, place in {"far": "XFD1048576", "low": "A1048576", "wide": "XFD1"}.items():
        book = openpyxl.Workbook()
        book.active["A1"], book.active["B1"], book.active["A2"] = "id", "image", "a"
        book.active[place] = "x"
        found[name] = folder / f"{name}.xlsx"
        book.save(found[name])
    book = openpyxl.Workbook()
    book.active["A1"], book.active["A2"] = "id", '="a"&"b"'
    found["formula"] = folder / "formula.xlsx"
    book.save(found["formula"])
    return found


def _texts(folder: Path, texts: dict[str, str], suffix: str) -> dict[str, Path]:
    for name, text in texts.items():
        (folder / f"{name}{suffix}").write_text(text, encoding="utf-8", newline="")
    return {name: folder / f"{name}{suffix}" for name in texts}


def _sparse(folder: Path, name: str, start: bytes) -> dict[str, Path]:
    path = folder / f"of gigabytes, {name}"
    path.write_bytes(start)
    os.truncate(path, _GIBIBYTES)
    return {path.stem: path}
