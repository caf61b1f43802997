# SPDX-License-Identifier: Apache-2.0
"""One network for whatever a person has: a token of each source, and attention over those present.

A source that a person does not have adds exactly nothing: what stands in its place is not looked
at. Where nobody of a batch has it, its encoder is not run, so that its weights have no gradient and
no optimiser moves them, by momentum or by weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from encephalon.errors import ModelError
from encephalon.networks.encoders import build_encoder, feature_maps, representation
from encephalon.networks.layers import check_choice
from encephalon.networks.linear_sets import LinearSets, small_image

PRESENT = "present"
"""The name of the last input, which says what each person has."""
_SHARED = "images"
#: Tokens, and what linear models see, if there are any.
Seen = tuple[Tensor, Tensor | None]
_SOURCE_KINDS = ("image", "connectivity", "table")

#: Columns of a target in the output, by its kind and its number of classes.
TARGET_KINDS: Mapping[str, Callable[[int], int]] = {
    "binary": lambda _: 1,
    "continuous": lambda _: 1,
    "multiclass": lambda classes: classes,
    "ordinal": lambda classes: classes - 1,
}


class MaskedFusion(nn.Module):
    """Every target from any non-empty set of the sources, which may be another for each person.

    Each source has an encoder and becomes one token. Each target has a query, which weighs the
    tokens that are present by a softmax, and a head over their weighted sum.

    sources               By name, in the order of the inputs, a `kind` and what it needs: "image"
                          (`channels`, 1 if not given, and `coarse`, the side of a small copy that
                          straight lines see), "connectivity" or "table" (`features`).
                          What is NaN in a table is unknown, and its encoder is told. Connectivity
                          is centred and scaled by buffers, `centre` and `spread` of its encoder,
                          which keeps a matrix of `regions` beside them, its `reference`, for
                          whoever makes its tangents.
    targets               By name, in the order of the output, a `kind` and what it needs: "binary",
                          "continuous", "multiclass" or "ordinal" (`classes`, in their order). It is
                          not told from the sources that `without` names.
    encoder, encoder_options
                          Name of an encoder of images, and what else it is built with: a width of
                          16 if nothing is said.
    share_images          One encoder for all images, whose tokens still differ by a layer of each.
    width, hidden         Of a token, and of the hidden layers of perceptrons and heads.
    dropout, edge_dropout
                          Share of the hidden layers, and of connectivity, that training leaves
                          out. Half of the edges is ours: of 155 people (ds000228) age was then told
                          to within 2.7 years on average, and to within 3.0 from all of them.

    linear                Components and sets of the linear models beside the network, which are
                          told from the same sources, see `LinearSets`; None for none. Their columns
                          follow those of the network in the output.

    Images (B, channels, Z, Y, X), connectivity and tables (B, features), then `present`
    (B, sources), where 0 is absent, in that order or by name, to (B, columns), of which `columns`
    has a slice for each target: a logit, a value, a logit for each class, or the log-odds of being
    above each class but the last, which never rise. What nobody has may be left out or None, and
    without `present` everybody has what is given. Raises ValueError for options that make no
    network, and ModelError for a person who has nothing and for inputs that are not the network's.
    """

    #: Weights of a source that nobody in a batch has get no gradient.
    leaves_out = True
    #: A query and a head of each target.
    head_parts = ("queries", "heads")
    #: What no gradient made.
    solved_parts = ("linear",)

    def __init__(
        self,
        sources: Mapping[str, Mapping[str, Any]],
        targets: Mapping[str, Mapping[str, Any]],
        encoder: str = "sfcn",
        encoder_options: Mapping[str, Any] | None = None,
        share_images: bool = False,
        width: int = 128,
        hidden: int = 128,
        dropout: float = 0.1,
        edge_dropout: float = 0.5,
        linear: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        _check(sources, targets)
        self.sources, self.width = tuple(sources), width
        self.encoders, self.tokens = nn.ModuleDict(), nn.ModuleDict()
        self.lines = nn.ModuleDict()
        self.encoder_of: dict[str, str] = {}
        options = {"width": 16} if encoder_options is None else dict(encoder_options)
        for name, about in sources.items():
            is_image = about["kind"] == "image"
            key = self.encoder_of[name] = _SHARED if is_image and share_images else name
            if key not in self.encoders:
                self.encoders[key] = (
                    _ImageEncoder(encoder, about.get("channels", 1), options)
                    if is_image
                    else _Perceptron(about, hidden, dropout, edge_dropout)
                )
            features = cast(int, self.encoders[key].features)
            if about.get("coarse"):
                self.lines[name] = _Coarse(about, features, edge_dropout)
            self.tokens[name] = nn.Sequential(nn.Linear(features, width), nn.LayerNorm(width))
        self.keys = nn.Linear(width, width, bias=False)
        self.queries = nn.Parameter(torch.randn(len(targets), width) * 0.02)
        hidden_from = [set(about.get("without", ())) for about in targets.values()]
        seen = [[name not in without for name in sources] for without in hidden_from]
        self.seen: Tensor
        self.register_buffer("seen", torch.tensor(seen), persistent=False)
        self.heads, self.columns, end = nn.ModuleDict(), dict[str, slice](), 0
        for name, about in targets.items():
            columns: int = TARGET_KINDS[about["kind"]](about.get("classes", 2))
            self.heads[name] = _head(about["kind"], width, hidden, columns, dropout)
            self.columns[name] = slice(end, end := end + columns)
        self.linear = LinearSets(sources, columns=end, **linear) if linear else None
        self._end = end

    @property
    def width_of_answer(self) -> int:
        """Columns of the output."""
        return self._end if self.linear is None else 2 * self._end

    def forward(self, *given: Tensor | None, **named: Tensor | None) -> Tensor:
        """(B, columns of all targets)."""
        names = (*self.sources, PRESENT)
        inputs = dict(zip(names, given, strict=False)) | named
        if len(given) > len(names) or not set(inputs) <= set(names):
            raise ModelError(
                f"The network takes {', '.join(names)}, but was given {len(given)} inputs by place "
                f"and {list(named)} by name: give it those."
            )
        present = self._present(inputs)
        if not (_is_fixed(present) or bool(present.any(dim=1).all())):
            nobody = (~present.any(dim=1)).nonzero()[0].item()
            raise ModelError(
                f"Row {nobody} of the batch has none of {', '.join(self.sources)}: leave out who "
                "has nothing to predict from."
            )
        return self.tell(self.see(inputs, present), present)

    def see(self, inputs: Mapping[str, Tensor | None], present: Tensor) -> Seen:
        """What `tell` needs of people: the tokens of `encode`, and what linear models see."""
        tokens = self.encode(inputs, present)
        return tokens, None if self.linear is None else self.linear.reduced(inputs, present)

    def tell(self, seen: Seen, present: Tensor) -> Tensor:
        """The output (B, columns) from those sources that are `present` (B, sources)."""
        tokens, reduced = seen
        said = self.fuse(tokens, present)
        if self.linear is None or reduced is None:
            return said
        return torch.cat([said, self.linear.of(reduced, present)], dim=1)

    def encode(self, inputs: Mapping[str, Tensor | None], present: Tensor) -> Tensor:
        """The tokens (B, sources, width) of each source, by name, of those who have it.

        What stands in place of the others is not looked at by `fuse`.
        """
        one = self._encode_all if _is_fixed(present) else self._encode_present
        tokens = [one(n, inputs.get(n), present[:, i]) for i, n in enumerate(self.sources)]
        return torch.stack(tokens, dim=1)

    def encode_one(self, name: str, given: Tensor) -> Tensor:
        """The tokens (B, width) of a source that everybody has."""
        features = self.encoders[self.encoder_of[name]](given)
        if name in self.lines:
            features = features + self.lines[name](given)
        token: Tensor = self.tokens[name](features)
        return token.float()

    def fuse(self, tokens: Tensor, present: Tensor) -> Tensor:
        """All targets (B, columns) of the tokens of those sources that are `present` (B, sources).

        A target that is told from none of these has an answer that means nothing. Tokens of one
        person serve for any number of rows of `present`.
        """
        visible = present.bool()[:, None] & self.seen
        scores = self.queries @ self.keys(tokens).transpose(1, 2) * self.width**-0.5
        # Finite, so that a target without any source has a number, which no other depends on.
        weights = scores.masked_fill(~visible, -1e30).softmax(dim=2) * visible
        fused = weights.to(tokens.dtype) @ tokens  # (B, targets, width)
        return torch.cat([head(fused[:, i]) for i, head in enumerate(self.heads.values())], dim=1)

    def average_of(self, name: str) -> Tensor | None:
        """An average person's connectivity (features,), or standardised numbers (1,), all 0.

        None of an image.
        """
        encoder: Any = self.encoders[self.encoder_of[name]]
        if isinstance(encoder, _ImageEncoder):
            return None
        centre: Tensor = torch.zeros_like(self.queries[0, :1]) if encoder.gaps else encoder.centre
        return centre.detach()

    def _present(self, inputs: Mapping[str, Tensor | None]) -> Tensor:
        """Who has what, as boolean (B, sources)."""
        present = inputs.get(PRESENT)
        if present is None:
            first = next(one for one in inputs.values() if one is not None)
            has = [inputs.get(name) is not None for name in self.sources]
            return torch.tensor(has, device=first.device).expand(len(first), -1)
        if present.dim() != 2 or present.shape[1] != len(self.sources):
            raise ModelError(
                f"'{PRESENT}' has the shape {tuple(present.shape)}: give it a row for each person "
                f"and a column for each of {', '.join(self.sources)}."
            )
        return present.bool()

    def _encode_present(self, name: str, given: Tensor | None, present: Tensor) -> Tensor:
        """Tokens (B, width) from the rows of those who have the source; zeros for the others."""
        tokens = torch.zeros(len(present), self.width, device=present.device)
        rows = present.nonzero()[:, 0]
        if not len(rows):
            return tokens
        if given is None:
            raise ModelError(f"{name!r} is said to be present, but was not given: give its tensor.")
        return tokens.index_copy(0, rows, self.encode_one(name, given[rows]))

    def _encode_all(self, name: str, given: Tensor | None, _: Tensor) -> Tensor:
        """The same of every row, whoever has it; finite, since `fuse` gives them a weight of 0."""
        return self.encode_one(name, cast(Tensor, given)).nan_to_num()


def drop_sources(present: Tensor, rate: float, seed: int, step: int) -> Tensor:
    """`present` (B, sources) without some sources of each person: modality dropout for training.

    Each is left out with the probability `rate`; who would have none keeps one of theirs, any as
    likely as another, so that a network learns every set of what a person has. The same `seed` and
    `step` of training leave out the same.
    """
    rng = np.random.default_rng([seed, step])
    has = present.bool().cpu().numpy()
    kept = has & (rng.random(has.shape) >= rate)
    rescued = np.where(has, rng.random(has.shape), -1.0).argmax(axis=1)
    lost = has.any(axis=1) & ~kept.any(axis=1)
    kept[lost, rescued[lost]] = True
    return torch.from_numpy(kept).to(present)


class _ImageEncoder(nn.Module):
    """The mean of an encoder's last map."""

    def __init__(self, name: str, channels: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = build_encoder(name, in_channels=channels, spatial_dims=3, **options)
        self.features = cast(Sequence[int], self.encoder.channels)[-1]

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, Z, Y, X) to (B, features)."""
        return representation(feature_maps(self.encoder, image))


class _Coarse(nn.Module):
    """Straight lines over an image of `side` voxels a side, which few people are enough for.

    Centred and scaled by the buffers `centre` and `spread`, as connectivity is.
    """

    def __init__(self, about: Mapping[str, Any], features: int, dropout: float) -> None:
        super().__init__()
        self.side = about["coarse"]
        voxels = about.get("channels", 1) * self.side**3
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.zeros(voxels))
        self.register_buffer("spread", torch.ones(1))
        self.drop, self.line = nn.Dropout(dropout), nn.Linear(voxels, features)

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, Z, Y, X) to (B, features)."""
        small = small_image(image, self.side)
        found: Tensor = self.line(self.drop((small - self.centre) / self.spread))
        return found


class _Perceptron(nn.Module):
    """Two layers over connectivity, or over the numbers of a table and which of them are NaN."""

    def __init__(
        self, about: Mapping[str, Any], hidden: int, dropout: float, edge_dropout: float
    ) -> None:
        super().__init__()
        self.features, features, self.gaps = hidden, about["features"], about["kind"] == "table"
        if not self.gaps:
            self.centre: Tensor
            self.spread: Tensor
            self.register_buffer("centre", torch.zeros(features))
            self.register_buffer("spread", torch.ones(1))
        if regions := about.get("regions"):
            self.register_buffer("reference", torch.eye(regions))
        width = features * (1 + self.gaps)
        self.layers = nn.Sequential(
            *_hidden(width, hidden, dropout), *_hidden(hidden, hidden, dropout)
        )
        # Beside them straight lines, which few people are enough for.
        self.line = nn.Linear(width, hidden)
        self.drop = nn.Dropout(0.0 if self.gaps else edge_dropout)

    def forward(self, values: Tensor) -> Tensor:
        """(B, features) to (B, hidden)."""
        if self.gaps:
            unknown = values.isnan()
            values = torch.cat([values.masked_fill(unknown, 0.0), (~unknown).to(values)], dim=1)
        else:
            values = (values - self.centre) / self.spread
        values = self.drop(values)
        found: Tensor = self.line(values) + self.layers(values)
        return found


class _Thresholds(nn.Module):
    """The log-odds of being above each class but the last, of one score (B, 1).

    The model of proportional odds (McCullagh 1980): the score less thresholds, which are in order.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor([-(columns - 1) / 2]))
        # The softplus of this is 1: thresholds begin a unit apart, the middle one at 0.
        self.gaps = nn.Parameter(torch.full((columns - 1,), 0.5413))

    def forward(self, score: Tensor) -> Tensor:
        """(B, 1) to (B, columns), which never rise along a row."""
        return score - torch.cat([self.first, nnf.softplus(self.gaps)]).cumsum(0)


def _is_fixed(present: Tensor) -> bool:
    """Whether rows cannot be chosen by their values: in a graph, or a network of shapes alone."""
    return torch.onnx.is_in_onnx_export() or present.is_meta


def _hidden(before: int, after: int, dropout: float) -> list[nn.Module]:
    # Normalised over a person, never over a batch: nobody's answer hangs on who else is there.
    return [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(dropout)]


def _head(kind: str, width: int, hidden: int, columns: int, dropout: float) -> nn.Sequential:
    head = nn.Sequential(*_hidden(width, hidden, dropout))
    if kind == "ordinal":
        return head.append(nn.Linear(hidden, 1, bias=False)).append(_Thresholds(columns))
    return head.append(nn.Linear(hidden, columns))


def _check(
    sources: Mapping[str, Mapping[str, Any]], targets: Mapping[str, Mapping[str, Any]]
) -> None:
    if not sources or not targets:
        raise ValueError("it needs at least one source and one target")
    if taken := {PRESENT, _SHARED} & set(sources):
        raise ValueError(f"a source cannot be called {min(taken)!r}: choose another name")
    for name, about in sources.items():
        check_choice(f"kind of the source {name!r}", about.get("kind", ""), _SOURCE_KINDS)
        if about["kind"] != "image" and about.get("features", 0) < 1:
            raise ValueError(f"the source {name!r} needs features, a number above 0")
    for name, about in targets.items():
        kind = about.get("kind", "")
        check_choice(f"kind of the target {name!r}", kind, TARGET_KINDS)
        if kind in {"multiclass", "ordinal"} and about.get("classes", 0) < 2:
            raise ValueError(f"the target {name!r} needs classes, a number above 1")
        for source in about.get("without", ()):
            check_choice(f"source that the target {name!r} is told without", source, sources)
        if set(sources) <= set(about.get("without", ())):
            raise ValueError(f"the target {name!r} is told from no source")
