# SPDX-License-Identifier: Apache-2.0
"""Turn a network into an ONNX graph that runs without torch, and prove that it says the same."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from encephalon.errors import ModelError

#: Largest difference to torch that an exported graph may show, in units of its largest output.
TOLERANCE = 1e-4
#: The operator set that ONNX Runtime 1.16+ and OpenVINO 2024+ both know.
OPSET = 18


def export_graph(network: nn.Module, path: Path, shape: Sequence[int]) -> None:
    """Write `network` as ONNX with free batch and spatial sizes.

    `shape` is that of an example input, (B, C, I, J, K). Weights are stored in half precision
    and computed with in single. Raises ModelError when the graph and the network differ.
    """
    network = network.cpu().eval()
    example = torch.rand(*shape, generator=torch.Generator().manual_seed(0))
    axes = {index: name for index, name in enumerate("BCIJK") if name != "C"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["output"],
            dynamic_axes={"image": axes, "output": axes},
        )
    store_half(path)
    _prove(network, path, example)


def store_half(path: Path) -> None:
    """Keep the floating-point weights of a graph in half precision, cast up when it is loaded."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph, casts = model.graph, []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < 64:
            continue
        half = numpy_helper.to_array(weight).astype(np.float16)
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def half_precision(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Weights as NumPy arrays, rounded to half precision where they are floating point."""
    return {
        name: value.detach()
        .cpu()
        .to(torch.float16 if value.is_floating_point() else value.dtype)
        .numpy()
        for name, value in state.items()
    }


def _prove(network: nn.Module, path: Path, example: Tensor) -> None:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (graph,) = session.run(None, {"image": example.numpy()})
    with torch.no_grad():
        expected = network(example).numpy()
    error = float(np.abs(graph - expected).max() / max(1e-6, np.abs(expected).max()))
    if error > TOLERANCE:
        message = (
            f"{path}: the exported graph differs from the network by {error:.1e}, more than "
            f"{TOLERANCE:.0e}: report this with the recipe."
        )
        raise ModelError(message)
    logging.getLogger(__name__).info("exported %s, relative difference %.1e", path, error)
