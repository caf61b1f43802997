# SPDX-License-Identifier: Apache-2.0
"""The settings of the legibility study: what a cohort has, what is learnt of it, and how.

A cohort is declared once, in `cohort.toml` beside its table or in `[study.cohort]` of a recipe:

    name = "my-cohort"
    group = "family"                        # what never straddles a split; the id if not given
    together = [["t1", "flair"]]            # sources that are used together or not at all

    [sources.t1]
    kind = "image"
    [sources.connectivity]
    kind = "connectivity"
    representation = "tangent"
    [blocks.constitutional]                 # a block of columns, of the domain of that name
    columns = { sex = ["F", "M"], age = "number" }
    [targets.age]
    kind = "continuous"
    domain = "constitutional"

No target is told from what is of its own domain.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from encephalon.errors import RecipeError, did_you_mean
from encephalon.inference.predictions_table import RESERVED
from encephalon.recipes.schema import Flag, Section, Validated
from encephalon.tables.schema import ColumnKind, Columns
from encephalon.transforms.parameters import VolumeRanges

__all__ = [
    "Block",
    "Cohort",
    "LegibilitySettings",
    "PredictOptions",
    "Source",
    "Target",
]

Kind = Literal["binary", "multiclass", "continuous", "ordinal"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
#: Units of which every non-empty set is scored, 63 of six as published; of more, see `sets`.
MOST_UNITS = 6
#: Methods that are scored beside other programs, which are not called so.
METHODS = ("model", "attention", "mean", "linear", "trees", "confounds")


class Source(Section):
    """Images, or connectivity, that a person may have.

    column          of the table, which holds the path of a file a person; its own name if ""
    files           for `encephalon table cohort`: where the file of a person lies, such as
                    "{id}/anat/{id}_T1w.nii.gz", from the folder of the cohort file
    array, ids      for connectivity of all people in one file: .npy, .npz ("file.npz:name"), CSV or
                    TSV, (N, R, R) or a row a person; and the text file of their ids, one a line,
                    which a table with the id column does not need
    contents        what the voxels show: "head" is stripped to its brain, "brain" is taken as it
                    is, "auto" looks
    triangle        of flat connectivity: "upper" or "lower", row by row
    representation  what is learnt from connectivity: "correlation", "fisher-z", or "tangent"
                    (differences from the mean of those who train)
    shrinkage       of matrices for the tangent space, see `TangentSpace`
    """

    kind: Literal["image", "connectivity"]
    column: str = ""
    files: str = ""
    array: str = ""
    ids: str = ""
    contents: Literal["auto", "head", "brain"] = "auto"
    triangle: Literal["upper", "lower"] = "upper"
    representation: Literal["correlation", "fisher-z", "tangent"] = "fisher-z"
    shrinkage: float = Field(default=0.1, ge=0, le=1)

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if self.kind == "image" and (self.array or self.ids):
            raise ValueError("has an array, which connectivity alone may: give `files`")
        return self


class Block(Section):
    """Columns of the table that are used together.

    columns  names, or a name and "number" or its categories; * and ? stand for several columns.
             What a column is that only has its name is looked up in the table
    domain   of the block; its own name if ""
    """

    columns: dict[str, ColumnKind] = Field(min_length=1)
    domain: str = ""

    @field_validator("columns", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return dict.fromkeys(value, ()) if isinstance(value, list | tuple) else value


class Target(Section):
    """What is told of a person.

    column   of the table; its own name if ""
    kind     "binary" and "multiclass" have classes in any order, "ordinal" in theirs
    classes  of two, the second is the positive one; looked up in the table if ()
    domain   whose sources and blocks it is not told from; none if ""
    unit     of a continuous target, such as "years"
    reliability
             how well the same person agrees with themselves when measured again: the correlation
             of numbers, or the share of equal classes; that of sessions of `Cohort.person` if 0
    """

    column: str = ""
    kind: Kind
    classes: tuple[str, ...] = ()
    domain: str = ""
    unit: str = ""
    reliability: float = Field(default=0.0, ge=0, le=1)

    @property
    def count(self) -> int:
        """Number of classes; 1 for a continuous target."""
        return 1 if self.kind == "continuous" else len(self.classes)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        count = len(set(self.classes))
        if count < len(self.classes):
            raise ValueError("names a class twice")
        if self.kind == "continuous" and self.classes:
            raise ValueError("has classes, which a continuous target has none of")
        if self.classes and (count < 2 or (self.kind == "binary") != (count == 2)):
            raise ValueError(f"has {count} classes, which is not of the kind {self.kind!r}")
        return self


class Cohort(Section):
    """What people have, and what is to be told of them.

    layout      for `encephalon table cohort`: "table" (any), "bids" (participants.tsv, and files by
                `sources`), or "biobank", the folders TRAIN and TEST of the published study
    table       for the same: the table, from the folder of the cohort file
    id, group, site, split
                columns: who it is, what never straddles a split (the id if ""), where it was
                measured, and a split, where there is one already
    person      column of who it is, where rows are sessions of people; their group too, unless that
                is wider
    together    sources and blocks that are used together or not at all
    confounds   columns whose effect alone is shown beside the model's: site, head size, age, sex
    subgroups   columns that the scores are cut by
    """

    name: str = ""
    layout: Literal["table", "bids", "biobank"] = "table"
    table: str = ""
    id: str = "id"
    group: str = ""
    site: str = ""
    split: str = ""
    person: str = ""
    together: tuple[tuple[str, ...], ...] = ()
    confounds: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()
    sources: dict[Name, Source] = Field(default_factory=dict)
    blocks: dict[Name, Block] = Field(default_factory=dict)
    targets: dict[Name, Target] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.inputs:
            raise ValueError("has neither sources nor blocks: nothing to learn from")
        if both := set(self.sources) & set(self.blocks):
            raise ValueError(f"calls both a source and a block {min(both)!r}: rename one")
        if reserved := {"images", "present"} & set(self.inputs):
            raise ValueError(f"calls an input {min(reserved)!r}, a word of its own: rename it")
        if reserved := set(RESERVED) & set(self.targets):
            raise ValueError(
                f"calls a target {min(reserved)!r}, which is a column of predictions.csv: rename it"
            )
        taken = [name for unit in self.together for name in unit]
        for name in taken:
            if name not in self.inputs:
                meant = did_you_mean(name, self.inputs, "there are")
                raise ValueError(f"has no {name!r}, which `together` names; {meant}")
        if len(set(taken)) < len(taken):
            raise ValueError("has a name twice in `together`")
        return self

    @model_validator(mode="after")
    def _told_from_others(self) -> Self:
        columns = [column for block in self.blocks.values() for column in block.columns]
        if twice := {column for column in columns if columns.count(column) > 1}:
            raise ValueError(f"has the column {min(twice)!r} in two blocks: leave it in one")
        for name, target in self.targets.items():
            if set(self.hidden_from(name)) >= set(self.inputs):
                raise ValueError(
                    f"has nothing to tell {name!r} from, as all that is used is of its own domain "
                    f"{target.domain!r}: use further inputs, or leave the target out"
                )
            for block in set(self.blocks) - set(self.hidden_from(name)):
                if (target.column or name) in self.blocks[block].columns:
                    raise ValueError(
                        f"would tell {name!r} from itself, a column of the block {block!r}: give "
                        f"the target the domain {self.domain_of(block)!r}"
                    )
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of sources and blocks, in the order that the network has them in."""
        return (*self.sources, *self.blocks)

    @property
    def units(self) -> tuple[tuple[str, ...], ...]:
        """What is used together or not at all: each of `together`, and each other input alone."""
        taken = {name: unit for unit in self.together for name in unit}
        return tuple(dict.fromkeys(taken.get(name, (name,)) for name in self.inputs))

    def domain_of(self, name: str) -> str:
        """The domain of a block; "" of a source, which every target may be told from."""
        return (self.blocks[name].domain or name) if name in self.blocks else ""

    def hidden_from(self, target: str) -> tuple[str, ...]:
        """The inputs of a target's own domain."""
        domain = self.targets[target].domain
        return tuple(name for name in self.inputs if domain and self.domain_of(name) == domain)

    def own_columns(self, target: str) -> set[str]:
        """The columns that are a target, or of its own domain, and tell nothing of it."""
        blocks = (self.blocks[n] for n in self.hidden_from(target) if n in self.blocks)
        return {self.targets[target].column or target, *(c for one in blocks for c in one.columns)}

    def apart(self, target: str) -> str | None:
        """The column whose subgroups may be promised a target by thresholds of their own.

        The first of `subgroups` that is not the target's own, which a new person does not tell.
        """
        own = self.own_columns(target)
        return next((name for name in self.subgroups if name not in own), None)

    def input_sets(self) -> tuple[tuple[str, ...], ...]:
        """The sets of inputs that are scored, the smaller first: every non-empty one of the units.

        Of more than MOST_UNITS units each alone, all but each, and all.
        """
        units = self.units
        every = len(units) <= MOST_UNITS
        sizes = range(1, len(units) + 1) if every else sorted({1, len(units) - 1, len(units)})
        chosen = [set(sum(some, ())) for size in sizes for some in combinations(units, size)]
        return tuple(tuple(n for n in self.inputs if n in some) for some in chosen)

    def only(self, inputs: tuple[str, ...], targets: tuple[str, ...]) -> Cohort:
        """The cohort with these inputs and targets alone; all of either for ().

        Raises RecipeError for one that there is not.
        """
        known = {"inputs": self.inputs, "targets": tuple(self.targets)}
        for key, asked in (("inputs", inputs), ("targets", targets)):
            for name in asked:
                if name not in known[key]:
                    meant = did_you_mean(name, known[key], "the cohort has")
                    raise RecipeError(f"The cohort {self.name!r} has no {name!r}; {meant}")
        used, told = set(inputs or self.inputs), set(targets or self.targets)
        units = (tuple(name for name in unit if name in used) for unit in self.together)
        return self.model_copy(
            update={
                "together": tuple(unit for unit in units if len(unit) > 1),
                "sources": {n: one for n, one in self.sources.items() if n in used},
                "blocks": {n: one for n, one in self.blocks.items() if n in used},
                "targets": {n: one for n, one in self.targets.items() if n in told},
            }
        )

    def columns(self) -> Columns:
        """What its table means: nothing but the id must be there of everybody."""
        covariates = {
            column: kind for block in self.blocks.values() for column, kind in block.columns.items()
        }
        inputs = {name: one.column or name for name, one in self.sources.items()}
        return Columns(
            id=self.id,
            inputs=inputs,
            optional=(*inputs, *covariates),
            covariates=covariates,
            group=self.group or None,
            split=self.split or None,
        )


class LegibilitySettings(Validated):
    """What `[study]` says, beside how it is validated.

    cohort            What people have; that of `cohort.toml` beside the table if not given.
    inputs, targets   Of the cohort, those that are used; all if ().
    side              Voxels along each side of the images, which span 224 mm.
    modality_dropout  Share of what a person has that training leaves out, person by person.
    fusion            How the answer to a set of inputs is made: "attention" asks the network once;
                      "stacked" weighs what it and linear models beside it say of the set and of its
                      parts, by weights of 0 or more that sum to 1, fitted on validation rows, so
                      that a part that is better alone is not spoilt by the rest.
    class_balance     "undersample" each class to the smallest, anew each epoch; "sampler" draws
                      classes alike; "weights" counts them alike in the loss. Of the first target
                      with classes.
    augmentation      See its class; none of it if not given.
    encoder_from      Of images, the model whose encoder is the start of theirs, by source.
    alpha             Share of conformal intervals and sets that may miss the truth.
    baselines         What is trained on the same folds and sets: "mean" (or the majority),
                      "linear" (ridge or logistic regression), "trees" (boosted).
    external          Other programs on the same people and folds: the CSV file of what each
                      predicts, by its name in the tables; see `experiments.external`.
    recalibrate       These a second time, put right by the people whom a fold does not test.
    hold_out_sites    Each fold tests sites that the others do not have.
    learning_curve    Shares of the training people that the first fold learns from besides.
    diagnostic        "learnable" recodes inputs so that they give the targets away, "shuffled"
                      deals out the targets anew: the one must be learnt, the other must not.
    power             Say how small an effect these people could have shown: seconds for hundreds of
                      them, and hours for tens of thousands.
    """

    cohort: Cohort | None = None
    inputs: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    side: Literal[16, 32, 64, 128] = 64
    modality_dropout: float = Field(default=0.3, ge=0, lt=1)
    fusion: Literal["attention", "stacked"] = "stacked"
    class_balance: Literal["none", "undersample", "sampler", "weights"] = "none"
    augmentation: VolumeRanges | None = None
    encoder_from: dict[str, str] = Field(default_factory=dict)
    alpha: float = Field(default=0.1, gt=0, lt=1)
    baselines: tuple[Literal["mean", "linear", "trees"], ...] = ("mean", "linear", "trees")
    external: dict[Name, str] = Field(default_factory=dict)
    recalibrate: bool = False
    hold_out_sites: bool = False
    learning_curve: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    diagnostic: Literal["learnable", "shuffled"] | None = None
    power: bool = False

    @field_validator("external")
    @classmethod
    def _of_others(cls, value: dict[str, str]) -> dict[str, str]:
        if taken := set(value) & set(METHODS):
            raise ValueError(f"calls a program {min(taken)!r}, a method of its own: rename it")
        return value

    def using(self, cohort: Cohort, resolve: Callable[[Cohort], Cohort]) -> Self:
        """The settings with what they use of a cohort; raises RecipeError for what it lacks.

        `resolve` is the cohort with what a table tells of it.
        """
        return self.model_copy(update={"cohort": resolve(cohort.only(self.inputs, self.targets))})


class PredictOptions(Section):
    """What the user may ask of a model.

    use  These inputs of each person alone, as if there were no others.
    """

    use: Annotated[
        tuple[str, ...] | None,
        Flag(
            "--use",
            "Only these inputs, between commas; by default all there are.",
            "NAMES",
        ),
    ] = None
