# SPDX-License-Identifier: Apache-2.0
"""Micrographs a second, from a 2048 x 2048 TIFF to a probability, against a plain script.

    python benchmarks/micrographs.py [--images 24] [--threads 2] [--repeat 3] [--small]

Both take the published steps of 3BTRON with one set of random weights in the published layout, and
must give the same likelihoods. The plain script does one step after the other with scikit-image
and torch, as the published notebooks do. Rounds alternate, so that the ratio holds when the
machine's speed drifts; loading the weights is not timed, and nothing is cached between rounds. Each
round is told on stderr when it is done. `--small` runs one of four small images, to see that
everything works: its figures mean nothing.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tifffile
import torch
from torch import nn

import encephalon
from encephalon.studies.micrographs.synthetic import phantom_micrograph
from figures import progress, tell, timed

#: What we want of each figure: our choice.
WISHES = {"times_faster": ">= 3"}
SIZE = 2048
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEADER = "id,image,sex,region"


def write_images(folder: Path, count: int, size: int = SIZE) -> Path:
    """TIFFs of `size` pixels a side, and their table."""
    rng = np.random.default_rng(0)
    small = [phantom_micrograph(rng, aged=bool(n % 2), size=size // 4).data for n in range(4)]
    lines = [HEADER]
    for number in range(count):
        large = np.kron(small[number % 4], np.ones((4, 4), np.uint8))
        noisy = np.clip(large + rng.normal(0, 6, large.shape), 0, 255).astype(np.uint8)
        tifffile.imwrite(folder / f"S{number}V1.tif", noisy)
        lines.append(
            f"S{number}V1,S{number}V1.tif,{'FM'[number % 2]},{('CC', 'HC', 'PFC')[number % 3]}"
        )
    table = folder / "table.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def write_weights(path: Path) -> nn.Module:
    """Random weights in the published layout; returns the network that holds them."""
    from encephalon.networks import build_network
    from encephalon.networks.image_classifier import to_published_names

    torch.manual_seed(0)
    recipe = encephalon.load_recipe("micrographs-published")
    options = {**recipe.network.options, "classes": 2, "covariates": 5}
    network = build_network(recipe.network.name, options).eval()
    torch.save(to_published_names(network.state_dict()), path)
    return network


@torch.no_grad()
def plain(network: nn.Module, table: Path) -> list[float]:
    """The published steps, one image and one step at a time."""
    from PIL import Image
    from skimage.exposure import equalize_hist
    from skimage.filters import threshold_li
    from skimage.transform import rescale
    from torch.nn.functional import interpolate

    likelihoods = []
    for line in table.read_text(encoding="utf-8").splitlines()[1:]:
        _, name, sex, region = line.split(",")
        with Image.open(table.parent / name) as file:
            grey = np.asarray(file.convert("L")) / 255.0
        even = equalize_hist(grey).astype(np.float32)
        white = (even > threshold_li(even)).astype(np.float64)
        small = rescale(white, 0.125, anti_aliasing=True).astype(np.float32)
        image = torch.from_numpy(small)[None, None].repeat(1, 3, 1, 1)
        scale = 256 / min(small.shape)
        if scale != 1:
            size = [round(side * scale) for side in small.shape]
            image = interpolate(image, size, mode="bilinear", antialias=True)
        top, left = (image.shape[2] - 224) // 2, (image.shape[3] - 224) // 2
        image = image[:, :, top : top + 224, left : left + 224]
        image = (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
        places = [sex == "F", sex == "M", region == "CC", region == "HC", region == "PFC"]
        logits = network(image, torch.tensor([places], dtype=torch.float32))
        likelihoods.append(float(logits[0, 1].sigmoid()))
    return likelihoods


def ours(model: Any, table: Path, folder: Path) -> list[float]:
    """The same with a loaded model of the package, table in and predictions.csv out."""
    result = model.predict_batch([table], folder, overwrite=True, report=False)
    assert not result.failures, result.failures
    return [float(row["likelihood"]) for row in result.rows]


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Alternate the two, compare what they say, and return the figures."""
    count, size = (4, SIZE // 8) if arguments.small else (arguments.images, SIZE)
    table = write_images(folder, count, size)
    network = write_weights(folder / "weights.pt")
    options = {"device": "cpu", "threads": arguments.threads, "cache": False}
    model = encephalon.load_model(folder / "weights.pt", **options)
    ours(model, table, folder / "warm")
    rounds: dict[str, list[float]] = {"plain": [], "ours": []}
    rounds_of = 1 if arguments.small else arguments.repeat
    for number in range(rounds_of):
        theirs, spent = timed(partial(plain, network, table))
        rounds["plain"].append(spent.wall)
        mine, spent = timed(partial(ours, model, table, folder / str(number)))
        rounds["ours"].append(spent.wall)
        told = f"plain {rounds['plain'][-1]:.1f} s, ours {rounds['ours'][-1]:.1f} s"
        progress(number + 1, rounds_of, told)
        worst = float(np.abs(np.subtract(mine, theirs)).max())
        if worst > 1e-3:
            raise SystemExit(f"The two pipelines disagree by {worst:.1e}: nothing is compared.")
    speed = {name: count / median(times) for name, times in rounds.items()}
    pairs = zip(rounds["plain"], rounds["ours"], strict=True)
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return {
        "plain_images_per_second": speed["plain"],
        "ours_images_per_second": speed["ours"],
        "times_faster": median(old / new for old, new in pairs),
        "largest_difference": worst,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Print the figures, and beside them what we want."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="one round of small images")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments, Path(folder))
    tell(figures, WISHES, arguments.json)


if __name__ == "__main__":
    main()
