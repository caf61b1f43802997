# SPDX-License-Identifier: Apache-2.0
"""Run an exported graph without torch: OpenVINO where it is installed, ONNX Runtime otherwise.

On which device and on how many threads is decided here too; what falls back to the CPU says so in a
warning.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from encephalon.errors import MissingExtraError, ModelError, UsageError
from encephalon.models.graph import Graph

Float = NDArray[np.float32]
Inputs = Float | Mapping[str, Float]
"""The only input of a graph, or its inputs by name."""

logger = logging.getLogger(__name__)

PREFERRED = ("openvino", "onnxruntime")
"""The order in which runtimes are tried on the CPU; other devices always use ONNX Runtime."""
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
_PATTERN = re.compile(r"auto|cpu|cuda(:\d+)?|mps")
# Set by OpenMP users, then by SLURM and PBS, for the cores of one task.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "NCPUS")


class Runtime(Protocol):
    """An opened graph."""

    @property
    def name(self) -> str:
        """Name and version of what runs it, for example "openvino 2026.4"."""
        ...

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda", "cuda:N" or "mps"."""
        ...

    def run(self, given: Inputs) -> list[Float]:
        """Return every output for one input (B, C, ...), or for several by name, all float32.

        Names that the graph does not know are passed over. The arrays are the caller's.
        Raises ModelError for an input that is missing and a shape that the graph refuses.
        """
        ...


def open_runtime(
    graph: Graph | str | Path,
    device: str = "auto",
    threads: int | None = None,
    prefer: Sequence[str] = PREFERRED,
) -> Runtime:
    """Open an ONNX graph with the first runtime of `prefer` that can.

    `device` is auto, cpu, cuda, cuda:N or mps; `threads` as `resolve_threads` takes it. Arithmetic
    is float32 everywhere, so that a mask does not depend on the machine. Raises the errors of
    `Graph.read`, UsageError for an unknown device or runtime, MissingExtraError when no
    runtime is installed, and ModelError when every one of them refuses the graph.
    """
    file = graph if isinstance(graph, Graph) else Graph(Path(graph))
    path, content = file.path, file.read()
    attempts = _attempts(device, prefer)
    count = resolve_threads(threads)
    refusals: list[str] = []
    for name, place in attempts:
        try:
            return _OPENERS[name](content, path, place, count)
        except Exception as error:  # noqa: BLE001  each runtime has exceptions of its own
            refusals.append(f"{name}: {_first_line(error)}")
            logger.warning("%s cannot open %s (%s).", name, path, _first_line(error))
    raise ModelError(
        f"{path}: no runtime can open the graph ({'; '.join(refusals)}): get the model again."
    )


def _attempts(device: str, prefer: Sequence[str]) -> list[tuple[str, str]]:
    """Return which runtime to try on which device, in order: the CPU is always the last resort."""
    unknown = [name for name in prefer if name not in _OPENERS]
    if unknown:
        raise UsageError(f"Unknown runtime {unknown[0]!r}: expected {' or '.join(_OPENERS)}.")
    names = [name for name in prefer if find_spec(name) is not None]
    if not names:
        raise MissingExtraError(
            f"Running a graph needs {' or '.join(prefer)}, but none is installed: "
            "run  pip install onnxruntime."
        )
    on_cpu = [(name, "cpu") for name in names]
    if check_device(device) == "cpu" or "onnxruntime" not in names:
        return on_cpu
    resolved = resolve_device(device)
    return on_cpu if resolved == "cpu" else [("onnxruntime", resolved), *on_cpu]


class _Opened:
    """A graph that a runtime has opened, which has these inputs."""

    def __init__(self, graph: Path, inputs: list[str], name: str, device: str) -> None:
        self._graph, self._inputs = graph, inputs
        self.name, self.device = name, device

    def run(self, given: Inputs) -> list[Float]:
        names = self._inputs
        if not names:
            raise ModelError(f"{self._graph}: the graph takes no input: get the model again.")
        came = given if isinstance(given, Mapping) else {names[0]: given}
        missing = [name for name in names if name not in came]
        if missing:
            raise ModelError(
                f"{self._graph}: the graph takes the inputs {', '.join(names)}, but "
                f"{', '.join(missing)} did not come: give all of them."
            )
        # Each in one piece of memory.
        arrays = {name: np.ascontiguousarray(came[name]) for name in names}
        try:
            return self._outputs(arrays)
        except Exception as error:
            shapes = ", ".join(f"{one.shape} and type {one.dtype}" for one in arrays.values())
            raise ModelError(
                f"{self._graph}: the graph failed on an input of shape {shapes} "
                f"({_first_line(error)}): give it the shape that the model card names."
            ) from error

    def _outputs(self, arrays: dict[str, Float]) -> list[Float]:
        raise NotImplementedError


class _OnnxRuntime(_Opened):
    def __init__(self, content: bytes, graph: Path, device: str, threads: int) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only; they arrive as exceptions anyway
        # Threads that spin while they wait slow down every other process on the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Its own format would be told by its first bytes, and was not checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        kind, _, number = device.partition(":")
        # TF32 and autotuned algorithms would change the result from run to run.
        settings = {"device_id": number or "0", "use_tf32": "0"}
        special: dict[str, Any] = {
            "cuda": ("CUDAExecutionProvider", settings),
            "mps": "CoreMLExecutionProvider",
        }
        providers = [special[kind]] if kind in special else []
        if kind == "cuda":
            # The CUDA that pip installs lies where the system does not look for it.
            with redirect_stdout(sys.stderr):
                getattr(onnxruntime, "preload_dlls", lambda: None)()
        self._session = onnxruntime.InferenceSession(
            content, options, providers=[*providers, "CPUExecutionProvider"]
        )
        used = device if len(self._session.get_providers()) > 1 else "cpu"
        if used != device:
            logger.warning("ONNX Runtime could not start on %s; using the CPU.", device)
        inputs = [given.name for given in self._session.get_inputs()]
        super().__init__(graph, inputs, f"onnxruntime {onnxruntime.__version__}", used)

    def _outputs(self, arrays: dict[str, Float]) -> list[Float]:
        return [np.asarray(output) for output in self._session.run(None, arrays)]


class _OpenVino(_Opened):
    def __init__(self, content: bytes, graph: Path, _device: str, threads: int) -> None:
        openvino = _import_openvino()
        core = openvino.Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # The default is bfloat16 where the processor has it: another mask on another machine.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._compile = partial(core.compile_model, core.read_model(content, b""), "CPU", settings)
        compiled = self._compile()
        self._request = compiled.create_infer_request()
        # Its tensor may bear several names; the input itself has the one of the graph.
        inputs = [port.node.friendly_name for port in compiled.inputs]
        name = f"openvino {str(openvino.__version__).partition('-')[0]}"
        super().__init__(graph, inputs, name, "cpu")

    def _outputs(self, arrays: dict[str, Float]) -> list[Float]:
        # Asked to wait at once, OpenVINO (2026.4) passes over a shape that the graph refuses, and
        # hands out what it had computed before; and what refused some shapes refuses all.
        # By position, as a tensor that is handed on at once may go by another name.
        try:
            self._request.start_async(list(arrays.values()), share_inputs=True)
            self._request.wait()
        except RuntimeError:
            self._request = self._compile().create_infer_request()
            raise
        return [np.array(tensor.data) for tensor in self._request.output_tensors]


def _import_openvino() -> Any:
    # Its model converter is what brings the telemetry (and a third of the import time); with the
    # name blocked during the import, OpenVINO leaves the converter out. Ours needs neither.
    converter = "openvino.tools.ovc"
    if "openvino" not in sys.modules and converter not in sys.modules:
        sys.modules[converter] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            del sys.modules[converter]
    import openvino

    return openvino


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


_OPENERS: dict[str, Callable[[bytes, Path, str, int], Runtime]] = {
    "openvino": _OpenVino,
    "onnxruntime": _OnnxRuntime,
}


def check_device(name: str) -> str:
    """Return `name` in lower case; raise UsageError unless it is auto, cpu, cuda, cuda:N or mps."""
    lower = str(name).strip().lower()  # a torch.device too
    if not _PATTERN.fullmatch(lower):
        raise UsageError(f"Unknown device {name!r}: expected one of {', '.join(DEVICES)}.")
    return lower


def resolve_device(name: str = "auto", needs_torch: bool = False) -> str:
    """Return the device to use: "cpu", "cuda", "cuda:N" or "mps".

    With `needs_torch` it is what torch can see; otherwise what ONNX Runtime was built for. A device
    that was asked for and is not there becomes "cpu", with a warning. Raises UsageError for a name
    that is none.
    """
    wanted = check_device(name)
    if wanted == "cpu":
        return wanted
    found = _torch_devices() if needs_torch else _onnx_devices()
    if wanted == "auto":
        # CoreML computes in half precision, so without torch it must be asked for by name.
        automatic = found if needs_torch else [name for name in found if name != "mps"]
        return automatic[0] if automatic else "cpu"
    # ONNX Runtime cannot count its devices: a number too high shows when the graph is opened.
    if wanted in found or (not needs_torch and wanted.partition(":")[0] in found):
        return wanted
    reason = f"only {', '.join(found)} found" if found else "none was found"
    logger.warning("The device %s is not available (%s); using the CPU.", wanted, reason)
    return "cpu"


def resolve_threads(threads: int | None = None) -> int:
    """Return the number of threads: the argument, else OMP_NUM_THREADS, SLURM's, or all cores.

    Raises UsageError for a number below 1.
    """
    if threads is not None:
        if threads < 1:
            raise UsageError(f"The number of threads must be 1 or more, but it is {threads}.")
        return threads
    # A container or a batch system may allow fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        available = max(1, len(os.sched_getaffinity(0)))
    else:
        available = os.cpu_count() or 1
    for variable in _THREAD_VARIABLES:
        text = os.environ.get(variable, "").split(",")[0]
        if text.isdigit() and int(text) > 0:
            return min(int(text), available)
    return available


def _torch_devices() -> list[str]:
    # Imported by name: this floor works without torch, and only its torch callers come here.
    torch: Any = import_module("torch")
    devices: list[str] = []
    if torch.cuda.is_available():
        devices += ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


def _onnx_devices() -> list[str]:
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    names = {"CUDAExecutionProvider": "cuda", "CoreMLExecutionProvider": "mps"}
    return [name for provider, name in names.items() if provider in providers]
