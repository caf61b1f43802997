# SPDX-License-Identifier: Apache-2.0
"""What the command line prints: results on standard output, everything else on standard error.

Results are plain text or, with --json, one JSON document. Progress bars show on a terminal only,
after two seconds of work. Colour is left out in pipes and where NO_COLOR is set.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

from typer import Option

from encephalon.cli.flags import AsJson
from encephalon.errors import UsageError

PATIENCE = 2.0  # seconds of silence before a progress bar: our choice

Advance = Callable[[int, int | None, str], None]
"""Called with how many are done, of how many (None: as before), and the present item."""

# What a terminal or a log takes for more than a letter: controls (a file name may hold an escape
# sequence or a line break), the line breaks of Unicode, and marks that turn the order of letters.
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# What is printed, for the file of --log-file.
_said = logging.getLogger("encephalon-said")
_said.setLevel(logging.INFO)

# How a line of that file begins; an empty file is a log too.
_LOGGED = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:|$")

_LEVELS = {"WARNING": "warning: ", "ERROR": "error: ", "CRITICAL": "error: "}


@dataclass(frozen=True)
class Console:
    """How much to say and in which form; one a command."""

    verbose: Annotated[
        int,
        Option(
            "-v", "--verbose", help="Say more; -vv adds tracebacks.", count=True, show_default=False
        ),
    ] = 0
    quiet: Annotated[bool, Option("-q", "--quiet", help="Say errors only.")] = False
    as_json: AsJson = False
    log_file: Annotated[
        Path | None,
        Option("--log-file", help="Also write the messages to a file, with times.", metavar="FILE"),
    ] = None

    def __post_init__(self) -> None:
        """Send the library's log to standard error, as loud as was asked for, and to the file."""
        level = logging.ERROR if self.quiet else logging.WARNING
        level = {0: level, 1: logging.INFO}.get(self.verbose, logging.DEBUG)
        logger, shown, kept = logging.getLogger("encephalon"), _Handler(), _kept(self.log_file)
        shown.setLevel(level)
        logger.setLevel(min(level, logging.INFO) if self.log_file else level)
        for old in _said.handlers:
            old.close()
        _said.handlers[:] = [kept]
        logger.handlers[:] = [shown, kept]
        logger.propagate = _said.propagate = False
        logging.captureWarnings(True)
        said = _Handler() if self.verbose else logging.NullHandler()
        logging.getLogger("py.warnings").handlers[:] = [said]

    def say(self, text: str) -> None:
        """Print a line for people: nothing with --quiet, and nothing with --json."""
        _said.info("%s", text)
        if not (self.quiet or self.as_json):
            _write(one_line(text), sys.stdout)

    def note(self, text: str) -> None:
        """Print a line about the work on standard error, so that a pipe stays clean."""
        if not self.quiet:
            _write(one_line(text), sys.stderr)

    def result(self, data: Any, text: str | Callable[[], str]) -> None:
        """Print what the command was asked for: `data` with --json, `text` otherwise."""
        if self.as_json:
            from encephalon.io.atomic import json_text

            _write(json_text(data).rstrip("\n"), sys.stdout)
        else:
            _write(text if isinstance(text, str) else text(), sys.stdout)

    @contextmanager
    def progress(self, total: int | None, title: str) -> Iterator[Advance]:
        """Yield what to call as work goes on; a bar shows after two seconds of it."""
        if self.quiet or self.as_json or not sys.stderr.isatty():
            yield lambda *_: None
            return
        from encephalon.inference.predictor import stages_told

        bar = _Bar(total, title)
        try:
            with stages_told(bar.stage):
                yield bar.advance
        finally:
            bar.close()


class _Bar:
    """A rich progress bar that keeps out of sight while the work is short."""

    def __init__(self, total: int | None, title: str) -> None:
        self._total, self._title = total, title
        self._done, self._item = 0, ""
        self._lock = threading.Lock()
        self._shown: Any = None
        self._closed = False
        self._timer = threading.Timer(PATIENCE, self._show)
        self._timer.daemon = True
        self._timer.start()

    def stage(self, words: str) -> None:
        """Show what is being done."""
        self.advance(self._done, None, words)

    def advance(self, done: int, total: int | None = None, item: str = "") -> None:
        with self._lock:
            item = one_line(item)
            self._done, self._item, self._total = done, item, total or self._total
            if self._shown is not None:
                progress, task = self._shown
                progress.update(task, completed=done, total=self._total, item=item)

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._closed = True
            if self._shown is not None:
                self._shown[0].stop()

    def _show(self) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        with self._lock:
            if self._closed:
                return
            progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[item]}", markup=False),
                console=RichConsole(stderr=True),
                transient=True,
            )
            progress.start()
            task = progress.add_task(
                self._title, total=self._total, completed=self._done, item=self._item
            )
            self._shown = (progress, task)


class _Handler(logging.Handler):
    """Writes a record as one line, to whatever standard error is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.name == "py.warnings":
            text = text.splitlines()[0]
        _line(_LEVELS.get(record.levelname, ""), "33", text)
        if record.exc_info:
            self.format(record)
            _write(record.exc_text or "", sys.stderr)


def _kept(file: Path | None) -> logging.Handler:
    """What keeps the log in a file, after what is there already; nothing without a file.

    Raises UsageError for a file that is no log of ours: a scan would be spoilt by a line of text.
    """
    if file is None:
        return logging.NullHandler()
    from encephalon.io.atomic import make_folder
    from encephalon.io.files import expanded, is_file

    path = expanded(file)
    make_folder(path.parent)
    if is_file(path) and not _LOGGED.match(path.read_bytes()[:20]):
        raise UsageError(
            f"{file}: expected a log that --log-file may go on with, but it is another file; give "
            "a name that is free."
        )
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


def error(sentence: str) -> None:
    """Print an error, always, on standard error."""
    _said.error("%s", sentence)
    _line("error: ", "31", sentence)


def show_traceback() -> None:
    """Print the traceback of the error in hand when -vv asked for it."""
    if logging.getLogger("encephalon").isEnabledFor(logging.DEBUG):
        import traceback

        _write(traceback.format_exc().rstrip(), sys.stderr)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Rows as aligned columns with a heading; cells are shown by `str`, None as nothing."""
    if not rows:
        return "nothing to list"
    columns = list(columns or rows[0])
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    lines = [
        "  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)).rstrip()
        for line in (columns, *cells)
    ]
    return "\n".join(lines)


def one_line(text: str) -> str:
    """The text with whatever a terminal would act on written as JSON and Python write it.

    The indented lines of a list of faults stay lines.
    """
    return "\n  ".join(_CONTROLS.sub(_escaped, line) for line in text.split("\n  "))


def keep_streams() -> None:
    """Open os.devnull in the place of standard streams that the shell has closed.

    Otherwise the next files to be opened get their descriptors, and whatever prints writes there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return _CONTROLS.sub(_escaped, text)


def _line(word: str, code: str, text: str) -> None:
    """A coloured word and a sentence, on standard error."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR") and word
    _print((f"\x1b[{code}m{word}\x1b[0m" if colour else word) + one_line(text), sys.stderr)


def _write(text: str, stream: TextIO) -> None:
    """Print text of several lines, none of which a terminal acts on."""
    _print("\n".join(_CONTROLS.sub(_escaped, line) for line in text.split("\n")), stream)


def _print(text: str, stream: TextIO) -> None:
    # A name may hold letters that the terminal lacks, or bytes that are no letters.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        # Nobody reads on, as after `| head`. The work goes on: its results are files.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
