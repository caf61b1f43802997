# SPDX-License-Identifier: Apache-2.0
"""`encephalon brain`, `isotropic` and `classify`: what `predict` does, one task a command.

Each is `predict` with the model of its task and the flags of that task alone, in the words that
mri_synthstrip and HD-BET have for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from encephalon.cli import flags, verbs
from encephalon.cli.console import Console
from encephalon.cli.predict import predict
from encephalon.errors import UsageError
from encephalon.inference.workers import SampleWorkers

Words = Annotated[
    list[Path] | None,
    Argument(
        metavar="INPUT [OUTPUT]",
        help="The same without -i and -o: the last of several is the output.",
        readable=False,
    ),
]
Model = Annotated[
    str, Option("--model", help="A model's name, folder or weights.", metavar="MODEL")
]
Save = Annotated[
    list[str] | None,
    Option(
        "--save",
        help="Further images in the folder, such as mask,probability.",
        metavar="KINDS",
        callback=flags.words,
    ),
]
# Of interest to few: `encephalon predict --help` shows them, and they work here too.
_HIDDEN = ("scheduler", "slurm", "pbs", "sge", "queue_option", "gpu_share", "retries", "more")


@dataclass(frozen=True)
class Task:
    """One thing that is done to images, as a command of its own.

    help    what it does in a few sentences, with an example
    study   whose options its flags are made of
    model   that ships for it; None where the user names one
    output  what its -o is for
    images  by key, the image that -o is a file of, and those that have such flags of their own:
            the words of the flag and its help
    names   other words for flags of the study, by option
    joined  which flags of `flags.Joined` it has
    """

    help: str
    study: str
    model: str | None = None
    output: str = "A folder, or the file of a single result."
    images: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    joined: tuple[str, ...] = ()

    def verb(self) -> Callable[..., None]:
        """The command as a function with its flags."""

        def run(
            chosen: flags.Chosen,
            running: flags.Running,
            workers: SampleWorkers,
            console: Console,
            words: Words = None,
            report: flags.Report = True,
            dry_run: flags.DryRun = False,
            **said: Any,
        ) -> None:
            given = [*(said.pop("inputs") or []), *(words or [])]
            if said["output"] is None and words and len(given) > 1:
                said["output"] = given.pop()
            joined = flags.Joined(**{name: said.pop(name) for name in self.joined})
            said |= self._places(said)
            said |= {"chosen": chosen, "running": running, "workers": workers, "console": console}
            predict(inputs=given, joined=joined, report=report, dry_run=dry_run, **said)

        run.__doc__ = self.help
        return verbs.flagged(*self._flags(), hidden=_HIDDEN)(run)

    def _flags(self) -> list[Parameter]:
        from encephalon.studies.registry import load_study

        options = load_study(self.study).options["default"]
        own = verbs.of_sections([("", options)], self.names)
        if self.images:
            own = [*(one for one in own if one.name != "save"), _flag("save", Save)]
        return [
            _flag("inputs", flags.Inputs),
            _flag("output", _place("-o --output", self.output)),
            *(_flag(key, _place(*told)) for key, told in list(self.images.items())[1:]),
            *verbs.parts(flags.Joined, self.joined),
            *own,
            _flag("model", Model, self.model or Parameter.empty),
        ]

    def _places(self, said: dict[str, Any]) -> dict[str, Any]:
        """Where the results go, in the words of `predict`, taken out of `said`."""
        main, *others = self.images or ("",)
        places = {main: said.pop("output"), **{key: said.pop(key) for key in others}}
        places = flags.given(**places)
        if not places:
            raise UsageError("Where does the result go? Say it with -o PLACE.")
        if not self.images:
            return {"output": places[main]}
        save = [*places, *(said.pop("save") or ())]
        return {"output": places, "save": list(dict.fromkeys(save))}


def _flag(name: str, kind: Any, default: Any = None) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=default)


def _place(names: str, text: str) -> Any:
    return Annotated[Path | None, Option(*names.split(), help=text, metavar="PLACE")]


brain = Task(
    """Images lie on the grid of the scan, each with a JSON that has the volume and the quality; a
    folder also gets predictions.csv and report.html. Any contrast, orientation and voxel size.

    \b
    Examples:
        encephalon brain -i scan.nii.gz -o brain.nii.gz -m mask.nii.gz
        encephalon brain -i scans -o stripped --save mask
    """,
    study="extraction",
    model="brain-extraction",
    output="The scan without its skull: a file, or a folder for all images.",
    images={
        "brain": ("-o --output", ""),
        "mask": ("-m --mask", "The mask of the brain, as a file."),
        "distance": ("-d --sdt", "Signed distance to the border, mm, positive inside, as a file."),
    },
    names={"border": "-b --border"},
)

isotropic = Task(
    """Writes the T2w with voxels as small across the slices as within them, in its own frame; in a
    folder also how uncertain it is, predictions.csv and report.html. A T1w of the person helps.

    \b
    Example:
        encephalon isotropic -i T2w.nii.gz --t1w T1w.nii.gz -o reconstructed
    """,
    study="isotropic",
    model="isotropic",
    joined=("t1", "stack"),
)

classify = Task(
    """Writes the class of each image or person with its probability into predictions.csv, and
    report.html. The model is one that you trained, or published weights: see
    `encephalon models list`.

    \b
    Example:
        encephalon classify -i images --model runs/trial -o predictions
    """,
    study="legibility",
    joined=("source", "value"),
)
