# SPDX-License-Identifier: Apache-2.0
"""Run every command of the pages, in the order of its page, in a scratch folder.

    python tools/commands.py [README.md docs/how-to.md ...] [--keep FOLDER]

A shell block is run line by line, a Python block as a whole, with the sources of this clone. What a
page takes for granted, such as scan.nii.gz, is a small phantom (`phantom_files.py`); what takes
long is shortened by options behind it (SHORTER), and each line is printed as it was run. A line is
not run if its comment is "needs ..." or "takes ...", or ends with that in brackets, as in
"# the tests (takes ten minutes)"; those lines are counted by reason.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pages import ROOT, pages
from phantom_files import lay_out

BLOCK = re.compile(r"^```(sh|python)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"\s#\s*(?:[^#]*\()?((?:needs|takes)\b[^()]*?)\)?\s*$")
#: Of a clone, what commands name.
CLONE = ("Makefile", "benchmarks", "constraints.txt", "pyproject.toml", "src", "tools")
_EPOCH = "--set training.epochs=1 --set training.steps_per_epoch=2"
# From the shipped weights, in steps too small to spoil them: masks of the result must be good.
_HEADS = (
    "--set training.epochs=1 --set training.steps_per_epoch=1 --set training.learning_rate=1e-7 "
    "--set training.start_from=brain-extraction --set study.coarse_steps=1 "
    "--set study.validation_samples=1"
)
_IMAGES = "--set study.folds=3 --set study.size=32 --set training.batch_size=4"
_TRIALS = "--option axes=axial --option thicknesses=4"
#: What is appended to the commands that match: the first that does.
SHORTER = (
    (r"python benchmarks/(?!extraction_accuracy)", "--small"),
    (r"encephalon bench ", "--repeat 1 --image scan.nii.gz"),
    (r"encephalon evaluate isotropic ", _TRIALS),
    (r"encephalon predict isotropic trial ", "--spacing 1.5"),
    (r"encephalon simulate phantoms ", "--subjects 1"),
    (r"encephalon simulate micrographs ", "--animals 10 --images 2 --size 64"),
    (r"encephalon train (micrographs|mine.toml -t (trial/)?table.csv)", f"{_EPOCH} {_IMAGES}"),
    (r"encephalon simulate microtomography ", "--depth 34 --side 32 --tile 32"),
    (r"encephalon grid run microtomography-tiny ", _EPOCH),
    (r"encephalon train pca ", "--set study.components=8"),
    (r"encephalon train region", f"{_EPOCH} --set network.options.encoder_options.width=4"),
    (r"encephalon train (isotropic|mine.toml -t pairs.csv)", f"{_EPOCH} --set study.patch=16"),
    (r"encephalon train legibility", _EPOCH),
    (r"encephalon train ", _HEADS),
)

#: What a page takes for granted beyond the phantoms, because it makes it in hours.
BEFORE = {
    "README.md": (
        "encephalon train isotropic -t pairs.csv -o runs/isotropic-base",
        "mkdir -p runs/isotropic-infants/runs",
        "cp -r runs/isotropic-base runs/isotropic-infants/runs/without-s0",
        "cp -r runs/isotropic-base runs/isotropic",
    )
}


@dataclass(frozen=True)
class Step:
    """One thing to run: the words of the page, and why they are not run if they are not."""

    page: str
    kind: str
    words: str
    reason: str = ""

    @property
    def command(self) -> str:
        """What is run: the words without their comment, shortened."""
        if self.kind == "python":
            return self.words
        bare = re.sub(r"\s+#.*$", "", self.words)
        for pattern, more in SHORTER:
            if re.match(pattern, bare):
                whole, sign, rest = bare.partition(" > ")
                return f"{whole} {more}{sign}{rest}"
        return bare


@dataclass(frozen=True)
class Done:
    """What became of a step."""

    step: Step
    code: int
    seconds: float
    output: str


def _of_users() -> list[Path]:
    """README and docs: what contributors type runs beside this."""
    return [page for page in pages() if page.parent.name == "docs" or page.stem == "README"]


def steps(page: Path) -> Iterator[Step]:
    """The steps of a page, in its order."""
    name = str(page.relative_to(ROOT))
    yield from (Step(name, "sh", words) for words in BEFORE.get(name, ()))
    for kind, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        lines = [block] if kind == "python" else re.sub(r"\s*\\\n\s*", " ", block).splitlines()
        for line in lines:
            if line.strip() and (kind == "python" or not line.startswith("#")):
                found = NOT_RUN.search(line)
                yield Step(name, kind, line.strip(), found[1].strip() if found else "")


def run(step: Step, folder: Path, seconds: float) -> Done:
    """Run one step in the folder, with this environment; after `seconds` it is stopped."""
    begun = time.monotonic()
    words = [sys.executable, "-c", step.command] if step.kind == "python" else ["bash", "-ec"]
    if step.kind == "sh":
        words.append(_through_make(step.command))
    with subprocess.Popen(
        words,
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, code = process.communicate(timeout=seconds)[0], process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what it started goes with it
            output, code = f"{process.communicate()[0]}\nstopped after {seconds:g} s", 124
    return Done(step, code, time.monotonic() - begun, output)


def _through_make(command: str) -> str:
    """A `make` command that takes the environment for installed, which runs this already."""
    if not command.startswith("make "):
        return command
    old = " ".join(f"-o {sys.prefix}/{stamp}" for stamp in (".base", ".dev"))
    return f"make {old} VENV={sys.prefix} {command.removeprefix('make ')}"


def _environment(folder: Path) -> dict[str, str]:
    sources = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(sources),
        "ENCEPHALON_HOME": str(folder / "home"),
        "ENCEPHALON_OFFLINE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def follow(page: Path, files: Path, scratch: Path, seconds: float) -> list[Done]:
    """Run the steps of a page in a folder of their own, and print each when it is done."""
    folder = scratch / page.stem.lower()
    shutil.copytree(files, folder)
    for name in CLONE:
        (folder / name).symlink_to(ROOT / name)
    found = []
    for step in steps(page):
        done = Done(step, 0, 0.0, "") if step.reason else run(step, folder, seconds)
        found.append(done)
        print(_line(done), flush=True)
        if done.code:
            print(_indented(done.output), flush=True)
    return found


def _line(done: Done) -> str:
    step = done.step
    words = "python block" if step.kind == "python" else step.command
    if step.reason:
        return f"{step.page}: not run ({step.reason}): {words}"
    return f"{step.page}: exit {done.code}, {done.seconds:5.1f} s: {words}"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-25:])


def main(words: Sequence[str] | None = None) -> int:
    """Run the pages, two at a time; 1 when a command fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", type=Path, nargs="*", default=_of_users())
    parser.add_argument("--keep", type=Path, help="an empty or new folder that stays")
    parser.add_argument("--seconds", type=float, default=600, help="after which one is stopped")
    asked = parser.parse_args(words)
    chosen = [page.resolve() for page in asked.pages]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(2) as pool:
        scratch = asked.keep or Path(temporary)
        files = scratch / "files"
        files.mkdir(parents=True)
        lay_out(files)
        print(f"phantoms: {time.monotonic() - begun:.1f} s", flush=True)
        work = [pool.submit(follow, page, files, scratch, asked.seconds) for page in chosen]
        found = [done for future in work for done in future.result()]
    failed = [done for done in found if done.code]
    left = Counter(done.step.reason for done in found if done.step.reason)
    ran = len(found) - sum(left.values())
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = (
        f"{time.monotonic() - begun:.0f} s, {usage.ru_utime + usage.ru_stime:.0f} s of processors"
    )
    print(f"commands: {ran} run in {spent}, {len(failed)} failed")
    for reason, count in left.most_common():
        print(f"commands: {count} not run: {reason}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
