# SPDX-License-Identifier: Apache-2.0
"""Flags made of the options of studies, and earlier words that are still understood."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field

from encephalon.cli import flags, verbs
from encephalon.cli.register import study_commands
from encephalon.errors import UsageError
from encephalon.inference.workers import Workers
from encephalon.recipes.schema import Flag, Section
from encephalon.studies.registry import list_studies, load_study
from tests.cli.conftest import Run


class Masks(Section):
    """Options of one study."""

    size: Annotated[int, Flag("-s --size", "Side of the mask.", "N")] = Field(default=8, ge=8)
    save: Annotated[tuple[str, ...], Flag("--save", "Images to write.", "KINDS")] = ("mask",)
    silent: str = "has no flag"


class Volumes(Section):
    """Options of another study."""

    size: Annotated[int, Flag("-s --size", "Side of the volume.", "N")] = Field(default=4, ge=4)
    kind: Annotated[Literal["a", "b"] | None, Flag("--kind", "Which of two.", "KIND")] = None
    grid: Annotated[Literal[16, 32], Flag("--grid", "Which of two sides.", "16|32")] = 16


def test_what_two_studies_have_under_one_name_is_one_flag() -> None:
    """Its help says which study means what, and its bounds let either's values through."""
    made = verbs.of_sections([("masks", Masks), ("volumes", Volumes)])
    assert [one.name for one in made] == ["size", "save", "kind", "grid"]
    option = made[0].annotation.__metadata__[0]
    assert option.help == "Side of the mask [masks]. Side of the volume [volumes]."
    assert option.min == 4
    assert all(one.default is None for one in made)


def test_only_what_was_said_reaches_the_function() -> None:
    """Lists come apart at commas or are repeated; what has a default stays out if it is unsaid."""
    told: list[dict[str, object]] = []

    def verb(**said: object) -> None:
        told.append(flags.given(**said))

    app = typer.Typer()
    app.command()(verbs.flagged(*verbs.of_sections([("", Masks)]))(verb))
    app(["--save", "mask,brain"], standalone_mode=False)
    app(["--save", "mask", "--save", "brain"], standalone_mode=False)
    app(["-s", "16"], standalone_mode=False)
    assert told == [{"save": ["mask", "brain"]}, {"save": ["mask", "brain"]}, {"size": 16}]


def test_a_choice_of_numbers_is_read_as_a_number() -> None:
    """What a study takes is one of its numbers, and not a text that looks like it."""
    told: list[dict[str, object]] = []
    app = typer.Typer()
    made = verbs.of_sections([("", Volumes)])
    app.command()(verbs.flagged(*made)(lambda **said: told.append(flags.given(**said))))
    app(["--grid", "32", "--kind", "b"], standalone_mode=False)
    assert told == [{"grid": 32, "kind": "b"}]


def test_what_is_repeated_as_key_and_value_reaches_a_section() -> None:
    """Values as TOML spells them; words that are none of these are refused."""
    told: list[Workers] = []

    def verb(jobs: Workers) -> None:
        told.append(jobs)

    app = typer.Typer()
    app.command()(verbs.flagged()(verb))
    app(
        ["--slurm", "--queue-option", "memory=16GB", "--queue-option", "cores=2"],
        standalone_mode=False,
    )
    app([], standalone_mode=False)
    assert [one.queue_option for one in told] == [{"memory": "16GB", "cores": 2}, {}]
    with pytest.raises(UsageError, match="--queue-option takes KEY=VALUE, and got 'cores'"):
        app(["--slurm", "--queue-option", "cores"], standalone_mode=False)


def test_predict_has_a_flag_for_every_option_that_says_so(run: Run) -> None:
    """In each mode of each study, whatever studies there are."""
    text = run("predict", "--help").out
    for study in map(load_study, list_studies()):
        for options in study.options.values():
            for field in options.model_fields.values():
                for flag in field.metadata:
                    names = flag.names.split() if isinstance(flag, Flag) else []
                    assert all(name.partition("/")[0] in text for name in names)


def test_the_help_names_the_mode_of_a_flag_that_default_models_refuse(run: Run) -> None:
    """A threshold is of published extraction; series of DICOM are read in every mode."""
    text = " ".join(run("predict", "--help").out.split())
    assert "a voxel is in the mask [extraction in mode published]" in text
    assert "the mask's border outwards, or inwards below 0 [extraction]" in text
    assert "for its second volume [extraction, isotropic]" in text
    assert text.index("--blend") < text.index("--threshold")  # what few need comes last


def test_commands_of_studies_have_names_of_their_own() -> None:
    """No two studies simulate, or make tables, under one word."""
    for kind in ("simulators", "tables"):
        names = [one.__name__ for one in study_commands(kind)]  # type: ignore[arg-type]
        assert names
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        (("simulate", "heads"), "simulate phantoms"),
        (("table", "arrays"), "table import-arrays"),
        (("table", "lights"), "table count-lights"),
    ],
)
def test_earlier_words_are_still_understood(run: Run, earlier: tuple[str, str], now: str) -> None:
    """Scripts of users go on; the help shows the present word alone."""
    result = run(*earlier, "--help")
    assert result.code == 0
    assert f"Usage: encephalon {now}" in result.out
    group = run(earlier[0], "--help").out
    assert f"\n  {now.split()[1]}" in group
    assert f"\n  {earlier[1]} " not in group


def test_the_earlier_flag_for_what_remains_is_still_understood(run: Run, tmp_path: Path) -> None:
    """`--left-over` is `--remainder`."""
    (tmp_path / "a.csv").write_text("id,x\n1,2\n")
    (tmp_path / "b.csv").write_text("id,y\n1,2\n3,4\n")
    words = ("table", "join", tmp_path / "a.csv", tmp_path / "b.csv", "-o", tmp_path / "c.csv")
    assert run(*words).code == 1
    assert run(*words, "--left-over").code == 0
