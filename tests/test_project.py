# SPDX-License-Identifier: Apache-2.0
"""The project's own files agree with each other and keep the house rules."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import encephalon

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sorted(
    path
    for folder in ("src", "tests", "tools", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_and_functions_are_short() -> None:
    """400 lines a file, 60 a function."""
    limits = _tool("limits")
    assert [fault for path in PYTHON for fault in limits.faults(path)] == []


def test_the_limits_are_noticed(tmp_path: Path) -> None:
    """A check that cannot fail is none."""
    limits = _tool("limits")
    long = tmp_path / "long.py"
    long.write_text("def f():\n" + "    x = 1\n" * 60 + "y = 2\n" * 400)
    file_fault, function_fault = limits.faults(long)
    assert "461 lines" in file_fault
    assert "f has 61 lines" in function_fault


def test_every_file_names_its_licence() -> None:
    """One SPDX line instead of licence blocks."""
    first = "# SPDX-License-Identifier: Apache-2.0"
    assert [
        path for path in PYTHON if path.read_text(encoding="utf-8").split("\n", 1)[0] != first
    ] == []


def _prose(path: Path) -> str:
    """Comments and strings of a module; all of a page or a recipe."""
    if path.suffix != ".py":
        return path.read_text(encoding="utf-8")
    with path.open("rb") as stream:
        return "\n".join(
            token.string
            for token in tokenize.tokenize(stream.readline)
            if token.type in (tokenize.COMMENT, tokenize.STRING)
        )


def test_every_source_is_one_that_a_reader_can_look_up() -> None:
    """Papers and repositories are cited by name, and no list that only its authors had."""
    private = re.compile(r"(?<!/)\b(?:[s]pecs?|[c]hecklists?)\b|\([s]pecification\b", re.IGNORECASE)
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.toml")]
    found = [
        path
        for path in (*PYTHON, *pages)
        if private.search(path.read_text(encoding="utf-8")) and private.search(_prose(path))
    ]
    assert found == []


def test_the_base_install_is_small_and_has_no_torch() -> None:
    """At most 30 distributions, and none of those that training brings."""
    needed = _tool("distributions").base()
    assert len(needed) <= 30
    assert not needed & {"torch", "lightning", "monai", "scikit-learn", "h5py"}


def test_constraints_are_plain_and_cover_what_is_required() -> None:
    """Only name==version, no hash and no address; every direct dependency is pinned."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.]+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for extra in extras for line in extra)]
    names = {re.split(r"[\[<>=]", line)[0].lower() for line in wanted} - {"encephalon"}
    assert names <= pinned


def test_the_package_index_is_given_no_link_that_leads_nowhere() -> None:
    """README links to pages of the clone; where there is none, their words stay."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "[troubleshooting](docs/troubleshooting.md)" in text
    for each in hook["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if "://" not in link] == []
    assert " · troubleshooting · " in text.replace("\n", " ")


def test_containers_are_made_alike_of_files_that_are_there() -> None:
    """Both definitions start from one image, and copy what is in the clone."""
    container = (ROOT / "Containerfile").read_text(encoding="utf-8")
    cluster = (ROOT / "apptainer.def").read_text(encoding="utf-8")
    images = re.findall(r"^FROM docker\.io/library/(\S+)", container, re.MULTILINE)
    images += re.findall(r"^From: (\S+)", cluster, re.MULTILINE)
    assert len(images) == 3
    assert len(set(images)) == 1
    copied = {
        word
        for line in re.findall(r"^COPY ([^-].*) \S+$", container, re.MULTILINE)
        for word in line.split()
    }
    assert copied == set(re.findall(r"^    (\S+) /source/", cluster, re.MULTILINE))
    assert all((ROOT / name).exists() for name in copied)
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {f"!{name}" for name in copied} <= set(kept)


def test_the_citation_has_the_package_version() -> None:
    """Whoever cites it cites what they used."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {encephalon.__version__}\n" in text


def test_every_command_in_the_pages_is_valid() -> None:
    """README, CONTRIBUTING and docs name verbs, flags, targets, links and names that exist."""
    pages = _tool("pages")
    assert [fault for page in pages.pages() for fault in pages.faults(page)] == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```sh\nencephalon predict a b -o c --bordr 2\n```", "--bordr"),
        ("```sh\nencephalon predikt\n```", "predikt"),
        ("```sh\nmake coffee\n```", "coffee"),
        ("```python\nencephalon.predicct()\n```", "predicct"),
        ("[here](nowhere.md)", "nowhere.md"),
    ],
)
def test_a_wrong_page_is_noticed(
    text: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of slip in a page is found."""
    pages = _tool("pages")
    (tmp_path / "Makefile").write_text("demo:\n")
    page = tmp_path / "page.md"
    page.write_text(text + "\n", encoding="utf-8")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (found,) = pages.faults(page)
    assert fault in found


def test_nothing_is_executed_by_loading_plain_data() -> None:
    """No eval, exec or unpickling anywhere in the package; torch reads tensors alone."""
    forbidden = re.compile(
        r"(?<![\w.])(eval|exec)\(|\bpickle\.|import pickle|allow_pickle=True"
        r"|torch\.load\((?!.*weights_only=True)"
    )
    sources = [path for path in PYTHON if (ROOT / "src") in path.parents]
    found = [
        str(path)
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if forbidden.search(line.split("#")[0]) and '"""' not in line
    ]
    assert found == []


def test_the_package_is_typed() -> None:
    """py.typed travels with it, so that users' checkers see the types."""
    assert (Path(encephalon.__file__).parent / "py.typed").is_file()


def test_the_venv_script_refuses_an_old_python(tmp_path: Path) -> None:
    """Without a Python that fits, one sentence says what to install."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    tool = ROOT / "tools" / "venv.sh"
    done = subprocess.run(
        ["/bin/sh", str(tool), str(tmp_path / "venv")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Python 3.11" in done.stderr
    assert sys.version_info >= (3, 11)


def test_the_picture_of_the_floors_is_what_is_checked() -> None:
    """The page and the import contract name the same rooms, floor by floor."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    checked = [{room.strip() for room in floor.split(":")} for floor in layers]
    rooms = set().union(*checked) - {"__main__"}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = page.split("```text")[1].split("```")[0].strip().splitlines()
    drawn = [rooms & set(re.findall("[a-z_]+", floor)) for floor in picture]
    assert drawn == [floor & rooms for floor in checked if floor & rooms]


def test_what_the_tools_and_benchmarks_import_exists() -> None:
    """No other test runs them all, so a name that moved would be noticed by nobody."""
    pytest.importorskip("torch")
    asked = {
        (node.module, alias.name)
        for path in PYTHON
        if path.relative_to(ROOT).parts[0] in ("tools", "benchmarks")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("encephalon")
        for alias in node.names
    }
    assert asked
    for module, name in sorted(asked):
        whole = f"{module}.{name}"
        assert hasattr(importlib.import_module(module), name) or importlib.util.find_spec(whole)
