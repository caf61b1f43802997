# SPDX-License-Identifier: Apache-2.0
"""Turn a network into an ONNX graph that runs without torch, and prove that it says the same."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from encephalon.errors import ModelError

#: Largest difference to torch that an exported graph may show, in units of its largest output.
TOLERANCE = 1e-4
#: The operator set that ONNX Runtime 1.16+ and OpenVINO 2024+ both know.
OPSET = 18


def export_graph(
    network: nn.Module,
    path: Path,
    example: Sequence[int] | Tensor | tuple[Tensor, ...],
    names: Sequence[str] = ("image",),
) -> None:
    """Write `network` as ONNX with free batch and spatial sizes.

    `example` is an input (B, C, ...), several of them, or the shape of one; `names` are those of
    the inputs, of which the graph has only those that the network uses. Every axis but the second
    is free. Weights are stored in half precision and computed with in single. Raises ModelError
    when the graph and the network differ.
    """
    network = network.cpu().eval()
    if isinstance(example, Tensor):
        example = (example,)
    inputs = tuple(one for one in example if isinstance(one, Tensor))
    if not inputs:
        generator = torch.Generator().manual_seed(0)
        inputs = (torch.rand(*cast("Sequence[int]", example), generator=generator),)
    with torch.no_grad():
        output: Tensor = network(*inputs)
    tensors = dict(zip([*names, "output"], [*inputs, output], strict=True))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            inputs,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            # As it is: merging a normalisation into its convolution would make other weights, which
            # half precision does not hold. The runtimes merge them in single.
            training=torch.onnx.TrainingMode.PRESERVE,
            input_names=list(names),
            output_names=["output"],
            # The batch and, where there are such, the sides may change, those of each input alone:
            # what is given once may be seen by all rows of another.
            dynamic_axes={
                name: {axis: f"{name}_{'BCIJK'[axis]}" for axis in range(tensor.dim()) if axis != 1}
                for name, tensor in tensors.items()
            },
        )
    _slim(path)
    _prove(path, tensors)


def _slim(path: Path) -> None:
    """Drop the inputs of a graph that it does not use, and keep its weights in half precision.

    Floating-point ones, which are cast up when it is loaded.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph, casts = model.graph, []
    used = {name for node in graph.node for name in node.input}
    kept = [given for given in graph.input if given.name in used]
    del graph.input[:]
    graph.input.extend(kept)
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


def _prove(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Compare the graph's output with the network's, both for the same inputs."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    known = [given.name for given in session.get_inputs()]
    (graph,) = session.run(None, {name: tensors[name].numpy() for name in known})
    expected = tensors["output"].numpy()
    error = float(np.abs(graph - expected).max() / max(1e-6, np.abs(expected).max()))
    if error > TOLERANCE:
        raise ModelError(
            f"{path}: the exported graph differs from the network by {error:.1e}, more than "
            f"{TOLERANCE:.0e}: report this with the recipe."
        )
    logging.getLogger(__name__).info("exported %s, relative difference %.1e", path, error)
