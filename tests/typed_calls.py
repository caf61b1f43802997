# SPDX-License-Identifier: Apache-2.0
"""Calls as a type checker sees them: `make check` reads this file, and nothing runs it.

A comment that ignores a fault is a fault itself where there is none, so each of them says that the
type checker finds it.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from encephalon import Model, load_model


def named_models_take_their_own_options() -> None:
    assert_type(load_model("brain-extraction", border=2, save=["mask"], device="cpu"), Model)
    assert_type(load_model("brainy", threshold=0.5, block=64), Model)
    assert_type(load_model("isotropic", fast=True, spacing=1), Model)
    assert_type(load_model("baby-ai", window="gaussian"), Model)
    assert_type(load_model("3btron", green=0.2, amber=0.6), Model)
    assert_type(load_model("axon-myelin", save="entropy"), Model)


def and_no_other() -> None:
    load_model("brain-extraction", spacing=1).predict("scan.nii.gz")  # type: ignore[attr-defined]
    load_model("brain-extraction", bordr=2).predict("scan.nii.gz")  # type: ignore[attr-defined]
    load_model("brain-extraction", save=["t2w"]).predict("a.nii")  # type: ignore[attr-defined]
    load_model("isotropic", method="fast").predict("T2w.nii.gz")  # type: ignore[attr-defined]


def models_of_ones_own_take_those_of_any_study(place: Path, name: str) -> None:
    assert_type(load_model(place, border=2), Model)
    assert_type(load_model(name, spacing=1, threads=2), Model)
    assert_type(load_model("runs/mine", green=0.2), Model)
    load_model("runs/mine", bordr=2)  # type: ignore[call-overload]
