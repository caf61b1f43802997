# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from encephalon.errors import RecipeError, TableError
from encephalon.recipes.loading import load_recipe
from encephalon.tables.naming import file_id, written_path
from encephalon.tables.schema import Columns


@pytest.mark.parametrize(
    ("name", "rule", "wanted"),
    [
        ("a/b/S3V1_x.tif", "before-underscore", "S3V1"),
        ("S33gmV2.tif", "before-underscore", "S33gmV2"),
        (r"C:\\data\\S3V1.2_x.tif", "before-underscore", "S3V1"),
        ("a/S3V1_x.ome.tif", "stem", "S3V1_x"),
        ("a/b.c.nii.gz", "stem", "b.c"),
        (r"a\\b.PNG", "stem", "b"),
        ("a/mouse-7_slice-2.png", r"mouse-(\d+)", "7"),
    ],
)
def test_a_file_name_becomes_an_id_by_the_rule(name: str, rule: str, wanted: str) -> None:
    """Those of 3BTRON, of whole names, and of anyone's own pattern."""
    assert file_id(name, rule) == wanted


def test_a_rule_that_is_none_or_finds_nothing_is_one_sentence() -> None:
    """With the name at fault."""
    for rule in ("underscore", "(a)(b)", "("):
        with pytest.raises(TableError, match="is no id rule: give stem, before-underscore"):
            file_id("a.tif", rule)
    with pytest.raises(TableError, match=r"finds no id in the file name 'a\.tif'"):
        file_id("x/a.tif", r"(\d+)")


def test_a_link_keeps_its_name_in_the_table(tmp_path: Path) -> None:
    """What a link points to, such as an object of git-annex, says nothing."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "SHA256-0").touch()
    (tmp_path / "a.tif").symlink_to("store/SHA256-0")
    assert written_path(tmp_path / "a.tif", (tmp_path / "t").resolve()) == "../a.tif"
    assert written_path(tmp_path / "a.tif", None) == (tmp_path.resolve() / "a.tif").as_posix()


@pytest.mark.parametrize("rule", [r"((?:a+)+)!$", r"((?:a|a)*)!$", r"(a*a*a*a*a*a*a*a*)!$"])
def test_an_expression_that_never_ends_is_ended(rule: str) -> None:
    """After two seconds of processor time, and the next name is searched as if nothing were."""
    with pytest.raises(TableError, match="takes too long on the file name"):
        file_id("a" * 60 + ".tif", rule)
    assert file_id("aaa!", rule) == "aaa"


def test_a_rule_that_is_none_is_refused_with_the_columns() -> None:
    """In a recipe, long before any file is named."""
    for rule in ("(", "no group", "(a)(b)", "(" * 5000 + ")" * 5000):
        with pytest.raises(TableError, match="is no id rule"):
            Columns(id_rule=rule)
    with pytest.raises(RecipeError, match="is no id rule"):
        load_recipe("micrographs", {"table.id_rule": "("})
