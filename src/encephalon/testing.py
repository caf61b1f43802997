# SPDX-License-Identifier: Apache-2.0
"""Tests of what others add to Encephalon: inherit a class, say what is tested, and run pytest.

from encephalon.testing import EncoderConformance

class TestMyEncoder(EncoderConformance):
    def encoder(self):
        return MyEncoder()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["EncoderConformance"]


class EncoderConformance:
    """What every encoder must do to serve all tasks; see `encephalon.networks.encoders`.

    in_channels  channels of the images that it takes
    sizes        sides of such images, [Z,] Y, X; odd ones among them
    """

    in_channels: ClassVar[int] = 1
    sizes: ClassVar[Sequence[Sequence[int]]] = ((32, 32), (33, 46))

    def encoder(self) -> nn.Module:
        """The encoder, newly made."""
        raise NotImplementedError

    def test_it_says_what_its_maps_are(self) -> None:
        """`channels` and `strides` are tuples of one whole number for each map."""
        from encephalon.networks.encoders import check_encoder

        check_encoder(self.encoder(), type(self).__name__)

    def test_maps_are_as_it_says_for_every_size(self) -> None:
        """Number, channels and sides, in training and in evaluation."""
        from encephalon.networks.encoders import feature_maps

        encoder = self.encoder()
        for size in self.sizes:
            for training in (True, False):
                feature_maps(encoder.train(training), self._images(size))

    def test_evaluation_is_deterministic(self) -> None:
        """The same image has the same maps, and changes nothing in the encoder."""
        encoder = self.encoder().eval()
        before = {name: value.clone() for name, value in encoder.state_dict().items()}
        _require_same(self._maps(encoder), self._maps(encoder), "it is run a second time")
        after = encoder.state_dict()
        changed = [name for name, value in before.items() if not value.equal(after[name])]
        if changed:
            raise AssertionError(f"Evaluation changed {', '.join(changed)}.")

    def test_images_of_a_batch_do_not_see_each_other(self) -> None:
        """In evaluation an image has the maps that it has alone."""
        encoder, images = self.encoder().eval(), self._images(self.sizes[0])
        alone = self._maps(encoder, images[:1])
        together = [one[:1] for one in self._maps(encoder, images)]
        _require_same(alone, together, "another image is in the batch", 1e-4)

    def test_its_state_is_all_that_it_is(self) -> None:
        """Another that was given its state dictionary has the same maps."""
        encoder, other = self.encoder().eval(), self.encoder().eval()
        other.load_state_dict(encoder.state_dict())
        _require_same(self._maps(encoder), self._maps(other), "its state is loaded by another")

    def test_every_weight_is_learnt(self) -> None:
        """The maps together have a gradient in each parameter that is to be trained."""
        from encephalon.networks.encoders import feature_maps

        encoder = self.encoder().train()
        maps = feature_maps(encoder, self._images(self.sizes[0]))
        sum(one.square().mean() for one in maps).backward()  # type: ignore[union-attr]
        weights = [(name, p) for name, p in encoder.named_parameters() if p.requires_grad]
        idle = [name for name, p in weights if p.grad is None or not p.grad.any()]
        if idle:
            raise AssertionError(f"No map depends on {', '.join(idle)}.")

    def _images(self, size: Sequence[int]) -> Tensor:
        import torch

        generator = torch.Generator().manual_seed(0)
        return torch.rand(3, self.in_channels, *size, generator=generator)

    def _maps(self, encoder: nn.Module, images: Tensor | None = None) -> list[Tensor]:
        import torch

        from encephalon.networks.encoders import feature_maps

        with torch.no_grad():
            return feature_maps(encoder, self._images(self.sizes[0]) if images is None else images)


def _require_same(
    first: Sequence[Tensor], second: Sequence[Tensor], when: str, tolerance: float = 0.0
) -> None:
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        off = float((one - other).abs().max())
        if off > tolerance * max(1.0, float(one.abs().max())):
            raise AssertionError(f"Map {number} differs by {off:.2g} when {when}.")
