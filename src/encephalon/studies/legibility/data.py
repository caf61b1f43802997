# SPDX-License-Identifier: Apache-2.0
"""The people of a table as a network sees them, and what is fitted to those who train.

What a person does not have is absent: no image, a row of NaN, no known cell. Nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import ContentError, InputError, TableError
from encephalon.inference.workers import Workers
from encephalon.io.arrays import read_array
from encephalon.studies.legibility.settings import Block, Cohort, Source
from encephalon.tables.encoding import covariate_names, encode_known, encode_target
from encephalon.tables.schema import Columns, Table
from encephalon.transforms.connectivity import TangentSpace, fisher_z, require_positive_definite
from encephalon.transforms.connectivity_files import read_triangles

__all__ = [
    "Encoding",
    "People",
    "block_names",
    "known_rows",
    "known_targets",
    "load_image",
    "prepare_people",
    "target_scales",
]

Values = NDArray[np.float64]
Float = NDArray[np.float32]
Flags = NDArray[np.bool_]
#: Voxels along each side of the images that are told by straight lines too (our choice).
COARSE = 16
#: Standard deviations from the mean beyond which a number is shown as if it were there, so that one
#: cell such as 9999 does not carry a straight line off (our choice).
FARTHEST = 10.0
#: Percentiles that a continuous target is clamped to before it is standardised, as published.
CLAMPED = (0.5, 99.5)


@dataclass(frozen=True, eq=False)
class People:
    """N people with what is known of them.

    table         their rows
    cohort        its inputs and targets are those that are used
    present       (N, inputs) who has what, in the order of `cohort.inputs`
    images        of each source the prepared file (.npy) of a person, None where there is none
    connectivity  of each source the correlations (N, pairs), rows of NaN where there are none
    values        of each block its columns (N, width), NaN where unknown: see `block_names`
    truth         of each target (N,): the number, or that of the class; NaN where unknown
    """

    table: Table
    cohort: Cohort
    present: Flags
    images: Mapping[str, Sequence[Path | None]] = field(default_factory=dict)
    connectivity: Mapping[str, Float] = field(default_factory=dict, repr=False)
    values: Mapping[str, Values] = field(default_factory=dict, repr=False)
    truth: Mapping[str, Values] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Number of people."""
        return len(self.present)

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> People:
        """The people of these rows."""
        places = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            table=self.table.select(places.tolist()),
            present=self.present[places],
            images={name: [some[row] for row in places] for name, some in self.images.items()},
            connectivity={name: some[places] for name, some in self.connectivity.items()},
            values={name: some[places] for name, some in self.values.items()},
            truth={name: some[places] for name, some in self.truth.items()},
        )

    def answerable(self, target: str, present: Flags) -> Flags:
        """Whether each person (N,) has an input of `present` that the target is told from."""
        hidden = self.cohort.hidden_from(target)
        seen = [name not in hidden for name in self.cohort.inputs]
        return np.asarray((present & seen).any(axis=1))


def prepare_people(table: Table, cohort: Cohort, side: int, cache: Path, workers: int) -> People:
    """The people of a table; what must be prepared is kept in `cache`, made by `workers` processes.

    Raises TableError, naming the row, for a cell that is not what its column has, and ContentError
    or InputError for a file that cannot be used.
    """
    files = {
        name: [table.path(cell) if cell else None for cell in table.texts(source.column or name)]
        for name, source in cohort.sources.items()
    }
    scans = {name: some for name, some in files.items() if cohort.sources[name].kind == "image"}
    images = _images(cohort, scans, cache, side, workers)
    connectivity = {
        name: _stacked(cohort.sources[name], some, table.ids)
        for name, some in files.items()
        if name not in scans
    }
    values = {name: encode_known(table, block.columns) for name, block in cohort.blocks.items()}
    there = {name: np.array([f is not None for f in some]) for name, some in images.items()}
    there |= {name: known_rows(some) for name, some in (connectivity | values).items()}
    for name, flags in there.items():
        if not flags.any():
            raise TableError(
                f"{table.source}: nobody has {name!r}: leave it out of study.inputs, or give it."
            )
    return People(
        table,
        cohort,
        np.stack([there[name] for name in cohort.inputs], axis=1),
        images,
        connectivity,
        values,
        known_targets(table, cohort),
    )


def known_targets(table: Table, cohort: Cohort) -> dict[str, Values]:
    """What is known of each target (N,): see `encode_target`."""
    return {
        name: encode_target(table, target.column or name, target.classes)
        for name, target in cohort.targets.items()
    }


def known_rows(values: NDArray[Any]) -> Flags:
    """Which rows (N,) of (N, F) hold any number."""
    return np.asarray(np.isfinite(values).any(axis=1))


def block_names(block: Block) -> tuple[str, ...]:
    """The name of each number that a block becomes, such as "sex=F", "sex=M", "age"."""
    return covariate_names(Columns(covariates=dict(block.columns)))


def load_image(path: Path, side: int) -> Float:
    """A prepared image (side, side, side), which may lie on disk with a multiple of that side.

    Raises ContentError for anything else.
    """
    image = np.asarray(read_array(path))
    factor = image.shape[0] // side if image.ndim == 3 else 0
    if image.shape != (factor * side,) * 3 or not factor:
        raise ContentError(
            f"{path}: a prepared image of side {side} or a multiple was expected, but its shape is "
            f"{list(image.shape)}: prepare it again with that side, or set study.side."
        )
    if not (np.abs(image) <= 1).all():
        raise ContentError(
            f"{path}: a prepared image lies between -1 and 1, but this one reaches from "
            f"{image.min()} to {image.max()}: give the scan itself, which is prepared then."
        )
    if factor > 1:
        image = image.reshape(side, factor, side, factor, side, factor).mean((1, 3, 5), np.float32)
    return np.asarray(image, dtype=np.float32)


def _images(
    cohort: Cohort, files: Mapping[str, Sequence[Path | None]], cache: Path, side: int, workers: int
) -> dict[str, list[Path | None]]:
    """The prepared file of everybody, by source; raises InputError for the first that fails."""
    from encephalon.studies.legibility.preprocessing import prepare_scans

    images: dict[str, list[Path | None]] = {}
    for name, some in prepare_scans(
        cohort, files, cache, side, workers=Workers(jobs=workers)
    ).items():
        images[name] = []
        for one in some:
            if isinstance(one, InputError):
                raise one
            images[name].append(None if one is None else one.path)
    return images


def _stacked(source: Source, files: Sequence[Path | None], people: Sequence[str]) -> Float:
    """The connectivity of everybody (N, pairs), rows of NaN where there is none."""
    found = dict(read_triangles(files, people, source.triangle))
    pairs = next((one.size for one in found.values()), 0)
    stacked = np.full((len(files), pairs), np.nan, np.float32)
    for row, one in found.items():
        stacked[row] = one
    if source.representation == "tangent" and found:
        # Asked once and here, where everybody has a name.
        names = [f"{people[row]} ({files[row]})" for row in found]
        require_positive_definite(stacked[list(found)], names, source.shrinkage)
    return stacked


@dataclass(frozen=True, eq=False)
class Encoding:
    """What is fitted to the people who train, and makes of others what the network is given.

    scaling   of each block the mean and standard deviation of each of its numbers
    targets   of each continuous target: lowest and highest value that is told apart, mean and
              standard deviation
    spaces    of connectivity in the tangent space, that space
    centres   of connectivity the mean (features,) of what it is represented by
    spreads   of connectivity the standard deviation around it, over all features
    coarse    of images of COARSE voxels a side both, which straight lines see
    """

    cohort: Cohort
    scaling: Mapping[str, tuple[list[float], list[float]]]
    targets: Mapping[str, tuple[float, float, float, float]]
    spaces: Mapping[str, TangentSpace] = field(default_factory=dict)
    centres: Mapping[str, Float] = field(default_factory=dict)
    spreads: Mapping[str, float] = field(default_factory=dict)
    coarse: Mapping[str, tuple[Float, float]] = field(default_factory=dict)

    @classmethod
    def fit(cls, people: People, rows: NDArray[np.int64]) -> Encoding:
        """What the people of these rows say; half precision holds all that the network keeps."""
        cohort, here = people.cohort, people.select(rows)
        scaling = {name: _moments(values) for name, values in here.values.items()}
        targets = target_scales(people, rows)
        known = {
            name: some[~np.isnan(some).all(axis=1)] for name, some in here.connectivity.items()
        }
        spaces = {}
        for name, flat in known.items():
            if cohort.sources[name].representation == "tangent" and len(flat):
                space = TangentSpace(cohort.sources[name].shrinkage).fit(flat)
                space.reference = _half(space.arrays()["reference"])
                spaces[name] = space
        found = cls(cohort, scaling, targets, spaces)
        features = {name: found.features(name, flat) for name, flat in known.items() if len(flat)}
        centres = {
            name: _half(one.mean(axis=0)).astype(np.float32) for name, one in features.items()
        }
        spreads = {
            name: float(_half(np.sqrt(np.square(one - centres[name]).mean()))) or 1.0
            for name, one in features.items()
        }
        coarse = {
            name: _image_scale([one for one in here.images[name] if one is not None])
            for name in cohort.sources
            if name in here.images
        }
        return replace(found, centres=centres, spreads=spreads, coarse=coarse)

    def features(self, name: str, flat: Float) -> Float:
        """What connectivity (N, pairs) is represented by (N, features), NaN rows for NaN rows."""
        kind = self.cohort.sources[name].representation
        if kind == "correlation":
            return flat
        known = known_rows(flat)
        if kind == "fisher-z":
            made = np.asarray(fisher_z(flat[known]), dtype=np.float32)
        elif name in self.spaces:
            made = self.spaces[name].transform(flat[known]).astype(np.float32)
        else:  # nobody who trains has it
            made = flat[known]
        whole = np.full((len(flat), made.shape[1]), np.nan, np.float32)
        whole[known] = made
        return whole

    def block(self, name: str, values: Values) -> Float:
        """The standardised numbers (N, width) of a block, NaN where unknown."""
        mean, deviation = self.scaling[name]
        return np.asarray((values - mean) / deviation, dtype=np.float32)

    def shown(self, name: str, values: Values) -> Float:
        """`block` as a network is given it: no further from the mean than FARTHEST."""
        return self.block(name, values).clip(-FARTHEST, FARTHEST)

    def scaled(self, name: str, truth: Values) -> Values:
        """A continuous target (N,) as it is learnt; any other as it is."""
        if name not in self.targets:
            return truth
        low, high, mean, deviation = self.targets[name]
        return np.asarray((truth.clip(low, high) - mean) / deviation)

    def natural(self, name: str, values: Values) -> Values:
        """What is learnt of a continuous target, in its own unit."""
        _, _, mean, deviation = self.targets[name]
        return values * deviation + mean

    @classmethod
    def from_dict(
        cls, cohort: Cohort, record: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
    ) -> Encoding:
        """What `as_dict` gave, with what lies among the weights of the network, by their names."""
        spaces, centres, spreads = {}, {}, {}
        for name, source in cohort.sources.items():
            kept = f"encoders.{name}"
            if source.kind == "connectivity" and f"{kept}.centre" in weights:
                centres[name] = np.asarray(weights[f"{kept}.centre"], dtype=np.float32)
                spreads[name] = float(weights[f"{kept}.spread"][0])
                if f"{kept}.reference" in weights:
                    spaces[name] = TangentSpace(source.shrinkage)
                    spaces[name].reference = np.asarray(weights[f"{kept}.reference"], np.float64)
        scaling = {}
        for name in cohort.blocks:
            mean, deviation = record["scaling"][name]
            scaling[name] = (list(mean), list(deviation))
        targets = {
            name: (float(low), float(high), float(mean), float(deviation))
            for name, (low, high, mean, deviation) in record["targets"].items()
        }
        return cls(cohort, scaling, targets, spaces, centres, spreads)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for `model.toml`; what is fitted to connectivity lies with the weights."""
        scaling = {name: [list(one) for one in pair] for name, pair in self.scaling.items()}
        return {"scaling": scaling, "targets": {n: list(one) for n, one in self.targets.items()}}


def _image_scale(files: Sequence[Path]) -> tuple[Float, float]:
    """The mean of images (voxels,) as coarse as straight lines see them, and their spread."""
    total, squares = np.zeros(COARSE**3), 0.0
    for path in files:
        image = load_image(path, COARSE).ravel().astype(np.float64)
        total, squares = total + image, squares + float(np.square(image).sum())
    centre = _half(total / max(1, len(files)))
    around = squares / max(1, len(files)) - float(np.square(centre).sum())
    spread = float(_half(np.sqrt(max(0.0, around) / COARSE**3)))
    return centre.astype(np.float32), spread or 1.0


def _moments(values: Values) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each column; 0 and 1 of one that nobody who trains has."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    deviation = np.sqrt(np.where(known, (values - mean) ** 2, 0).sum(axis=0) / count)
    # Of a number that is the same for everybody, rounding may leave a deviation.
    varies = deviation > 1e-12 * np.abs(mean)
    return mean.tolist(), np.where(varies, deviation, 1.0).tolist()


def target_scales(
    people: People, rows: NDArray[np.int64]
) -> dict[str, tuple[float, float, float, float]]:
    """Of each continuous target how these people make it comparable: see `Encoding.targets`."""
    return {
        name: _target_scale(name, people.truth[name][rows])
        for name, target in people.cohort.targets.items()
        if target.kind == "continuous"
    }


def _target_scale(name: str, truth: Values) -> tuple[float, float, float, float]:
    known = truth[np.isfinite(truth)]
    if not known.size:
        raise TableError(
            f"The target {name!r} is known of nobody who trains: leave it out of study.targets, or "
            "give more people."
        )
    low, high = np.percentile(known, CLAMPED).tolist()
    clamped = known.clip(low, high)
    return low, high, float(clamped.mean()), float(clamped.std()) or 1.0


def _half(values: Any) -> Values:
    """As half precision holds it, in which weights ship."""
    return np.asarray(values).astype(np.float16).astype(np.float64)
