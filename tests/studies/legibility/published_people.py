# SPDX-License-Identifier: Apache-2.0
"""A cohort as the published study had it, and a few people of it, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from encephalon.recipes.loading import load_recipe
from encephalon.recipes.schema import Recipe
from encephalon.studies.legibility.data import People, block_names
from encephalon.studies.legibility.published.settings import PublishedSettings, published_settings
from encephalon.studies.legibility.settings import Cohort
from encephalon.tables.schema import Table

#: The 25 variables by domain (Ruffle et al. 2024).
VARIABLES = {
    "constitutional": "sex age weight handedness",
    "disease": "smoking hypertension atopy asthma fat",
    "serology": "haemoglobin hdl hba1c ldl",
    "psychology": "swings miserable irritable sensitive fed nervous anxious tense worry lonely "
    "guilty reaction",
}
CONTINUOUS = {"age", "weight", "fat", "haemoglobin", "hdl", "hba1c", "ldl", "reaction"}
REGIONS = 5


def published_cohort() -> Cohort:
    """Three images, connectivity, four blocks; every variable is a target as well."""
    words = {domain: names.split() for domain, names in VARIABLES.items()}
    kinds: dict[str, Any] = {}
    for domain, names in words.items():
        for name in names:
            about: dict[str, Any] = {"kind": "continuous"}
            if name not in CONTINUOUS:
                about = {"kind": "binary", "classes": ["0", "1"]}
            kinds[name] = {**about, "domain": domain}
    return Cohort.model_validate(
        {
            "name": "biobank",
            "sources": {
                **{name: {"kind": "image"} for name in ("t1", "flair", "dwi")},
                "rsfmri": {"kind": "connectivity"},
            },
            "blocks": {
                domain: {"columns": dict.fromkeys(names, "number")}
                for domain, names in words.items()
            },
            "targets": kinds,
        }
    )


def asked(cohort: Cohort | None = None, **study: Any) -> PublishedSettings:
    """The settings of a published study of a cohort."""
    settings = PublishedSettings.model_validate(study)
    return settings.using(cohort or published_cohort(), lambda known: known)


def recipe_of(settings: PublishedSettings, **training: Any) -> Recipe:
    """The published recipe with these settings, of a network of 2 channels, for a moment."""
    recipe = load_recipe("legibility-published")
    said = {**recipe.study.settings, **settings.model_dump(mode="json", exclude_none=True)}
    about = {"epochs": 1, "batch_size": 4, **training}
    small = {"width": 2, "connections": 10}
    recipe = recipe.model_copy(
        update={
            "study": recipe.study.model_validate({"name": "legibility", **said}),
            "network": recipe.network.model_copy(update={"options": small}),
            "training": recipe.training.model_copy(update=about),
        }
    )
    assert published_settings(recipe) == settings
    return recipe


def people_of(cohort: Cohort, folder: Path, count: int = 24) -> People:
    """People with all of a cohort; every number says the first target, which is 0 or 1 or any."""
    rng = np.random.default_rng(0)
    name, target = next(iter(cohort.targets.items()))
    truth = rng.integers(2, size=count).astype(float)
    if target.kind == "continuous":
        truth = rng.normal(50, 10, count)
    images = {}
    for source, about in cohort.sources.items():
        if about.kind == "image":
            images[source] = [folder / f"{source}-{row}.npy" for row in range(count)]
            for row, path in enumerate(images[source]):
                volume = rng.normal(np.tanh(truth[row]), 1, (64, 64, 64)).clip(-4, 4) / 4
                np.save(path, volume.astype(np.float16))
    pairs = REGIONS * (REGIONS - 1) // 2
    flat = rng.normal(0, 0.1, (count, pairs)).astype(np.float32)
    flat[:, 0] = np.tanh(truth - truth.mean())
    values = {
        block: truth[:, None] + rng.normal(0, 0.1, (count, len(block_names(about))))
        for block, about in cohort.blocks.items()
    }
    ids = [f"p{row:04d}" for row in range(count)]
    table = Table(pd.DataFrame({"id": ids}, dtype=object), cohort.columns(), folder)
    return People(
        table,
        cohort,
        np.ones((count, len(cohort.inputs)), bool),
        images,
        {n: flat for n, one in cohort.sources.items() if one.kind == "connectivity"},
        values,
        {name: truth},
    )


def published_people_table(folder: Path, count: int = 6) -> Path:
    """The table of a few people with all that the built-in grid names, beside its cohort file."""
    from encephalon.studies.legibility.cohort import COHORT, PEOPLE, cohort_text

    said = published_cohort().model_dump(mode="json")
    longer = {"fat": "body_fat", "swings": "mood_swings", "fed": "fed_up"}
    longer |= {"miserable": "miserableness", "irritable": "irritability"}
    longer |= {"sensitive": "sensitivity", "reaction": "reaction_time"}
    said["targets"] = {longer.get(name, name): one for name, one in said["targets"].items()}
    for block in said["blocks"].values():
        block["columns"] = {longer.get(name, name): one for name, one in block["columns"].items()}
    said["targets"]["sex"]["classes"] = ["0", "1"]
    cohort = Cohort.model_validate(said)
    frame = pd.DataFrame({"id": [str(n) for n in range(count)]})
    for name in cohort.sources:
        paths = [folder / f"{name}-{n}.npy" for n in range(count)]
        for path in paths:
            np.save(path, np.eye(REGIONS) if name == "rsfmri" else np.zeros((2, 2, 2)))
        frame[name] = [path.name for path in paths]
    for name in cohort.targets:
        frame[name] = [n % 2 for n in range(count)]
    frame.to_csv(folder / PEOPLE, index=False)
    (folder / COHORT).write_text(cohort_text(cohort), encoding="utf-8")
    return folder / PEOPLE
