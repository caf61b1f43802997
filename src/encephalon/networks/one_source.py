# SPDX-License-Identifier: Apache-2.0
"""What a network of many sources tells of a person by one of them, while the others stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from encephalon.networks.fusion import MaskedFusion

__all__ = ["OnePerson", "OneSource"]


@dataclass(frozen=True, eq=False)
class OnePerson:
    """All that one person has.

    tokens   (1, sources, width)
    present  (1, sources)
    reduced  what linear models see (1, components); None where there are none
    linear   how much linear models count, from 0 to 1, beside the network
    """

    tokens: Tensor
    present: Tensor
    reduced: Tensor | None = None
    linear: float = 0.0


class OneSource(nn.Module):
    """A number that a network tells of a person, by one source, while what else they have stays.

    The source (B, ...) to (B, 1). Its children are what lies on the way, so that they can be
    shuffled stage by stage: encoder, line, token, attention, head, linear models if they count.

    score  from what is said of the target (B, columns) to the number (B,)
    """

    def __init__(
        self,
        network: MaskedFusion,
        name: str,
        target: str,
        score: Callable[[Tensor], Tensor],
        person: OnePerson | None = None,
    ) -> None:
        super().__init__()
        encoder: Any = network.encoders[network.encoder_of[name]]
        self.encoder = encoder.encoder if hasattr(encoder, "encoder") else encoder.layers
        if name in network.lines:
            self.line = network.lines[name]
        self.token = network.tokens[name]
        self.attention = nn.ParameterList([network.queries, network.keys.weight])
        self.head = network.heads[target]
        if person is not None and person.linear:
            self.linear = network.linear
        # No children: a copy of this module copies them with what they share with the children.
        self._whole = (network, name, network.columns[target], score, person)

    def forward(self, given: Tensor) -> Tensor:
        """(B, 1)."""
        network, name, columns, score, person = self._whole
        assert person is not None
        every = person.tokens.expand(len(given), -1, -1)
        place = network.sources.index(name)
        token = network.encode_one(name, given)[:, None]
        every = torch.cat([every[:, :place], token, every[:, place + 1 :]], dim=1)
        present = person.present.expand(len(given), -1)
        said = network.fuse(every, present)[:, columns]
        if person.linear and network.linear is not None and person.reduced is not None:
            alone = torch.zeros_like(present)
            alone[:, place] = True
            others = network.linear.kept(person.reduced, present & ~alone)
            reduced = others + network.linear.reduced({name: given}, alone)
            said = said + person.linear * (network.linear.of(reduced, present)[:, columns] - said)
        return score(said)[:, None]
