# SPDX-License-Identifier: Apache-2.0
"""How a result is cited: what is known of the model, and nothing made up."""

from __future__ import annotations

import encephalon
from encephalon.models.catalogue import model_info
from encephalon.reports.citation import cite


def test_the_paragraph_names_versions_and_settings() -> None:
    """Of the program, the model, what it ran on, and what was asked of it."""
    about = {"name": "mine", "version": "2.1", "task": "segmentation", "sha256": "ab" * 32}
    running = {"model": about, "runtime": "onnxruntime 1.2", "device": "cpu", "border_mm": 2.0}
    found = cite(about, running)
    assert f"segmented with Encephalon {encephalon.__version__} (Python" in found.methods
    assert "the model mine 2.1 (sha256 abababababab) [2]" in found.methods
    assert "run by onnxruntime 1.2 on the cpu, with the settings border mm 2.0." in found.methods


def test_a_doi_of_the_model_is_a_field_of_its_own() -> None:
    """Two entries with balanced braces, in the order of the paragraph."""
    bibtex = cite(model_info("3btron")).bibtex
    assert "doi = {10.1038/s42003-025-08453-6}," in bibtex
    assert bibtex.index("@software{encephalon,") < bibtex.index("@misc{3btron,")
    assert bibtex.count("{") == bibtex.count("}")


def test_what_is_unknown_is_left_out() -> None:
    """A model of somebody's own training has neither a title nor a paper."""
    found = cite({"name": "runs/mine", "version": "unknown", "citation": "unknown"})
    assert "unknown" not in found.methods + found.bibtex
    assert "note" not in found.bibtex
