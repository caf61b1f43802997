# SPDX-License-Identifier: Apache-2.0
"""Which device computes, on how many threads. Falling back is always said in a warning."""

from __future__ import annotations

import logging
import os
import re
from importlib import import_module
from typing import Any

from encephalon.errors import UsageError

__all__ = ["DEVICES", "check_device", "resolve_device", "resolve_threads"]

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
_PATTERN = re.compile(r"auto|cpu|cuda(:\d+)?|mps")
# Set by OpenMP users, then by SLURM and PBS, for the cores of one task.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "NCPUS")

logger = logging.getLogger(__name__)


def check_device(name: str) -> str:
    """Return `name` in lower case; raise UsageError unless it is auto, cpu, cuda, cuda:N or mps."""
    lower = name.strip().lower()
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
    available = _available_cores()
    for variable in _THREAD_VARIABLES:
        text = os.environ.get(variable, "").split(",")[0]
        if text.isdigit() and int(text) > 0:
            return min(int(text), available)
    return available


def _available_cores() -> int:
    # A container or a batch system may allow fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


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
