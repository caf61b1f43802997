# SPDX-License-Identifier: Apache-2.0
"""Networks are found by name, late, and options are checked before anything is built."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
import torch

from encephalon.errors import RecipeError
from encephalon.networks import build_network, list_networks, register
from encephalon.networks import registry as module


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_registered", {})


def test_listing_networks_imports_no_torch() -> None:
    """Names come from a table; torch stays out of the process."""
    code = (
        "import sys, encephalon.networks as n; n.list_networks(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_built_in_networks_can_be_built() -> None:
    """Every name of the table leads to a torch module."""
    assert {"distance-unet", "keras-unet"} <= set(list_networks())
    assert isinstance(build_network("keras-unet", {"filters": 2}), torch.nn.Module)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    """A slip of the finger is corrected, nonsense is answered with the list."""
    with pytest.raises(RecipeError, match="did you mean 'keras-unet'"):
        build_network("keras_unet")
    with pytest.raises(RecipeError, match="known networks: distance-unet"):
        build_network("zzz")


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    """The error names option and network; the known options are listed if none is near."""
    with pytest.raises(RecipeError, match=r"'filter' of the network 'keras-unet'.*'filters'"):
        build_network("keras-unet", {"filter": 8})
    with pytest.raises(RecipeError, match="it takes: n_classes, filters, in_channels"):
        build_network("keras-unet", {"zzz": 8})


def test_a_refused_value_is_a_fault_of_the_recipe() -> None:
    """What the constructor raises comes back as a RecipeError with the options in it."""
    with pytest.raises(RecipeError, match="'filters': 0"):
        build_network("keras-unet", {"filters": 0})
    with pytest.raises(RecipeError, match="'filters': 'many'"):
        build_network("keras-unet", {"filters": "many"})


def test_a_registered_network_is_built_with_its_options() -> None:
    """The decorator returns the factory unchanged; keyword catch-alls accept any option."""

    @register("pointwise")
    def pointwise(**options: int) -> torch.nn.Module:
        return torch.nn.Conv3d(1, options["channels"], 1)

    assert build_network("pointwise", {"channels": 7}).weight.shape[0] == 7
    assert "pointwise" in list_networks()
    assert register("pointwise")(pointwise) is pointwise


def test_a_name_is_given_once() -> None:
    """Neither a built-in nor a registered name can be taken over."""
    register("mine")(torch.nn.Identity)
    with pytest.raises(RecipeError, match="'mine' is already taken"):
        register("mine")(torch.nn.ReLU)
    with pytest.raises(RecipeError, match="'keras-unet' is already taken"):
        register("keras-unet")(torch.nn.ReLU)


def test_an_entry_point_is_loaded_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's network needs no import of its package beforehand."""
    point = metadata.EntryPoint("foreign", "torch.nn:Identity", module.ENTRY_POINTS)
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [point])
    assert isinstance(build_network("foreign"), torch.nn.Identity)
