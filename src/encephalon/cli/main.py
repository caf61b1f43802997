# SPDX-License-Identifier: Apache-2.0
"""The entry point: which verbs there are, and what an error looks like.

Only the module of the verb that was asked for is imported, so that help stays quick.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from encephalon import __version__
from encephalon.cli import console
from encephalon.cli.register import add, present_word, settings
from encephalon.errors import EncephalonError, UsageError, did_you_mean

DONE, FAILED, WRONG_ARGUMENTS = 0, 1, 2
INTERRUPTED = 130  # as shells have it, and what typer turns Ctrl-C into
# Read by libraries when they are first imported. Threads that spin while they wait, and BLAS
# threads for the small products of resampling, take the cores from the network: twice the time.
# What Python clears away after a process that was killed is nothing to warn of.
_CALM = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
}
_COMPLETING = "_ENCEPHALON_COMPLETE"  # set by the shells that `--install-completion` taught

VERBS = {
    "brain": "Strip the skull: brain, mask, volume (alias skullstrip).",
    "isotropic": "Make a T2w of thick slices isotropic.",
    "classify": "Predict the class of images or of people.",
    "predict": "Predict on files, a folder, a table or a BIDS dataset.",
    "predict-bids": "Predict as a BIDS-App: BIDS_DIR OUT participant, or group.",
    "train": "Train a model from a recipe and a table.",
    "evaluate": "Score a model on a table with known answers.",
    "grid": "Train, evaluate and compare many models by one file.",
    "explain": "Show where a model looked, and what tells its answer.",
    "table": "Make, check and split tables of samples.",
    "recipes": "List, show and check recipes.",
    "data": "Fetch public images by name.",
    "models": "List, inspect, fetch and verify models.",
    "cite": "Print BibTeX and a methods paragraph for a model.",
    "simulate": "Make images whose answer is known.",
    "bench": "Time a model on this machine, whole process and memory.",
    "demo": "Show a model, or the models of a study, on made-up images.",
}

_PACKAGED = Path(__file__).parents[1] / "models" / "packaged"


def _epilog() -> str:
    """The models that ship and what each does, read without what knows models: that takes long."""
    about = [
        tomllib.loads(path.read_text(encoding="utf-8"))
        for path in sorted(_PACKAGED.glob("*/model.toml"))
    ]
    shipped = "\n".join(f"  {one['name']:17} {one['title']}" for one in about)
    return f"""\b
Models that ship:
{shipped}
Further ones:  encephalon models list
\n\b
The first thing to try:
  encephalon brain -i scan.nii.gz -o brain.nii.gz -m mask.nii.gz
`encephalon COMMAND --help` explains a command."""


def build(verbs: Sequence[str]) -> typer.Typer:
    """The command with the named verbs whole, and each other verb as a line of the help."""
    app = typer.Typer(
        name="encephalon",
        help="Deep learning for images of the brain.",
        epilog="" if verbs else _epilog(),
        rich_markup_mode=None,  # boxes cost 0.2 s, two thirds of the budget of --help
        no_args_is_help=True,
        # Its flags stand before any verb, and typer reads them through pydantic, which takes 0.1 s.
        add_completion=not verbs or _COMPLETING in os.environ,
        pretty_exceptions_enable=False,
        context_settings=settings(),
    )
    app.callback()(_root)
    for name, text in VERBS.items():
        if name in verbs:
            add(app, name, text)
        else:
            app.command(name, help=text)(lambda: None)  # only its line of the help is ever used
    return app


def command_of(verbs: Sequence[str]) -> Any:
    """The command that `build` describes, without the types and braces of typer in its help."""
    command: Any = typer.main.get_command(build(verbs))
    waiting = [command]
    while waiting:
        one = waiting.pop()
        waiting += getattr(one, "commands", {}).values()
        for parameter in one.params:
            if parameter.param_type_name == "argument":
                # typer would write `MODEL <str>`, and {MODEL} in the line of usage.
                named = f"{parameter.metavar or parameter.name}"
                shown = named if parameter.required else f"[{named}]"
                shown += "..." if parameter.nargs != 1 else ""
                parameter.display_type_rich = lambda ctx: None  # noqa: ARG005
                parameter._usage_display_name = lambda shown=shown: shown
            elif parameter.metavar is None and not (parameter.is_flag or parameter.count):
                parameter.metavar = parameter.opts[-1].lstrip("-").replace("-", "_").upper()
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 failed, 2 wrong arguments.

    It is 130 for work that Ctrl-C, SIGTERM or SIGHUP stops.
    """
    for name, value in _CALM.items():
        os.environ.setdefault(name, value)
    given = list(sys.argv[1:] if arguments is None else arguments)
    verbs = [
        present_word(word) for word in given or _being_completed() if not word.startswith("-")
    ][:1]
    console.keep_streams()
    console.Console()  # the log is on standard error from the start, whatever the verb's flags
    try:
        with _stopped_by_signals():
            return _run(given, verbs)
    except BrokenPipeError:
        sys.stdout = None  # or its flush at exit complains again
        return FAILED
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  a user gets a sentence
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(str(error), err=True)
            return WRONG_ARGUMENTS
        sentence, code = _explain(error, verbs)
        if code != WRONG_ARGUMENTS:
            console.show_traceback()
        console.error(sentence)
        return code


def _being_completed() -> list[str]:
    """The words so far, where a shell asks how they may go on: bash has its own name for them."""
    asked = os.environ if _COMPLETING in os.environ else {}
    return asked.get("COMP_WORDS", asked.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM (of a scheduler, a container, `kill`) and SIGHUP do what Ctrl-C does.

    What the caller of this process ignores stays ignored, as SIGHUP below nohup.
    """
    process, before = os.getpid(), dict[signal.Signals, Any]()

    def stop(number: int, frame: Any) -> None:
        del frame
        if os.getpid() == process:
            raise KeyboardInterrupt
        # A worker that was forked ends as it would without us.
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(each) is signal.SIG_DFL:
                before[each] = signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _run(given: list[str], verbs: list[str]) -> int:
    empty = next((word for word in given if re.fullmatch(r"(--[\w-]+=)?", word)), None)
    if empty is not None:
        raise UsageError(
            f"{empty or 'One of the arguments'} is empty, as where a variable is not set: give it "
            "or leave it out."
        )
    if verbs == ["predict-bids"]:
        from encephalon.cli.predict import gather_labels

        given = gather_labels(given)
    code = command_of(verbs)(given, prog_name="encephalon", standalone_mode=False)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else DONE


def _explain(error: BaseException, verbs: list[str]) -> tuple[str, int]:
    """What to say of an error in one line, and the exit code."""
    match error:
        case EncephalonError():
            return str(error), error.exit_code
        case typer.TyperException():
            message, known = error.format_message(), [name for name in verbs if name in VERBS]
            if verbs and not known:
                meant = did_you_mean(verbs[0], VERBS, "the commands are")
                message = f"No such command {verbs[0]!r}; {meant}"
            stop = "" if message.endswith((".", "?")) else "."
            help_of = " ".join(["encephalon", *known, "--help"])
            return f"{message}{stop} See  {help_of}", WRONG_ARGUMENTS
        case KeyboardInterrupt() | typer.Abort():
            sentence = "Interrupted: finished results are kept, nothing half-written is left."
            return sentence, INTERRUPTED
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            return f"{place}{error.strerror or error}; check the path and its permissions.", FAILED
    kind = type(error).__name__
    return f"Unexpected {kind}: {error} (a bug in Encephalon; -vv shows where).", FAILED


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False,
        "-V",
        "--version",
        callback=_version,
        is_eager=True,
        help="Show the version.",
    ),
) -> None:
    del version
