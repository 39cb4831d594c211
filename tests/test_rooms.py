"""The law of rooms: imports point one way, files stay small, the README's tree is true.

Imports are read with ``ast``, those inside functions and under ``TYPE_CHECKING`` included: a type is a dependency too.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sightline

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "sightline"
FILES = sorted(SOURCE.rglob("*.py"))

# A room may import from its own line and from the lines above it. A new room is one word here: a decision.
LAYERS = (
    ("errors", "finding", "files", "progress", "download", "settings", "run"),
    ("data", "models", "losses", "penalties", "metrics"),
    ("tracking",),
    ("training",),
    ("diagnosis", "seeing", "voting", "tune"),
    ("reports", "serving"),
    ("making", "measuring"),
    ("estimator", "doctor"),
    ("comparison", "ensembles", "auditing"),
    ("opened", "recipes", "hub", "improving", "see"),
    ("flags",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
LAYER = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# Half of the field cannot be imported beside a CPU build of torch, or breaks when torchvision is broken.
FORBIDDEN = {"torchvision", "timm", "torchmetrics", "lightning", "pytorch_lightning", "fastai"}
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# A file that can be said in one line is about this long.
LINES = 400


def module(file: Path) -> str:
    """``.../data/images.py`` -> ``sightline.data.images``; a package is called by its folder."""
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(file): file for file in FILES}


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and absolute name of every module a file imports, wherever the import stands.

    A public name taken from the package (``sightline.Run``) counts as the module that defines it.
    """
    package = module(file).split(".") if file.name == "__init__.py" else module(file).split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield node.lineno, whole if whole in MODULES else defined(whole) if base == "sightline" else base
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sightline":
            yield node.lineno, defined(f"sightline.{node.attr}")


def defined(name: str) -> str:
    """``sightline.Run`` -> ``sightline.making.trained``; a name that is no public one stays what it is."""
    return sightline.PUBLIC.get(name.removeprefix("sightline."), name)


def room(name: str) -> str:
    """``sightline.data.images`` -> ``data``; the package itself is the empty string."""
    return name.partition(".")[2].split(".")[0]


@pytest.mark.parametrize("file", FILES, ids=module)
def test_arrows_point_one_way(file: Path) -> None:
    mine = room(module(file))
    for line, name in imports(file):
        if not mine or name.split(".")[0] != "sightline" or name in {"sightline", "sightline.__version__"}:
            continue
        theirs = room(name)
        assert mine in LAYER, f"the room '{mine}' has no place in LAYERS"
        assert theirs in LAYER, f"{file}:{line} imports '{name}', which has no place in LAYERS"
        assert LAYER[theirs] <= LAYER[mine], f"{file}:{line}: '{mine}' must not import '{theirs}'"


def test_no_two_files_import_each_other() -> None:
    graph = {name: {theirs for _, theirs in imports(file) if theirs in MODULES} for name, file in MODULES.items()}
    graph = {name: theirs - {"sightline"} for name, theirs in graph.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("file", FILES, ids=module)
def test_forbidden_imports(file: Path) -> None:
    for line, name in imports(file):
        first = name.split(".")[0]
        assert first not in FORBIDDEN, f"{file}:{line} imports {first}, which is no dependency of ours"
        assert first not in PICKLES, f"{file}:{line} imports {first}: nothing we write or read is a pickle"


def dotted(node: ast.AST) -> str:
    """``torch.jit.load`` of an attribute, ``load`` of a name, nothing of anything else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


# Whatever of torch reads or writes pickles, by any way to it.
TORCH_PICKLES = re.compile(r"torch\.(serialization|hub|package)\b|(torch\.)?jit\.(load|save)$|torch\.(load|save)$")
# The one exception: a function that reads state_dicts of others, with a literal that keeps code from being run.
READER = ("sightline.models.pickled", "read_pickled", "torch.load(path, map_location='cpu', weights_only=True)")


@pytest.mark.parametrize("file", FILES, ids=module)
def test_nothing_reads_a_pickle(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    place, function, call = READER
    readers = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function]
    allowed = [
        node.func
        for reader in readers
        for node in ast.walk(reader)
        if isinstance(node, ast.Call) and ast.unparse(node) == call and module(file) == place
    ]
    assert len(allowed) == (module(file) == place), f"{file}: `{call}` stands in {place}.{function}, once"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node not in allowed:
            assert not TORCH_PICKLES.match(dotted(node)), f"{file}:{node.lineno}: {dotted(node)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            inside = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                assert not TORCH_PICKLES.match(inside + alias.name), f"{file}:{node.lineno}: {alias.name}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant), f"{file}:{node.value.lineno}"
            assert node.value.value is False, f"{file}:{node.value.lineno} unpickles what a file holds"


@pytest.mark.parametrize("file", FILES, ids=module)
def test_files_stay_small_and_say_what_they_are(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES, f"{file} is longer than {LINES} lines: it is two files"
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    assert first.endswith((".", ":")), f"{file} does not say in its first line what it turns into what"
    assert file.name not in {"utils.py", "helpers.py", "common.py", "misc.py"}, f"{file}: a helper has a name"


def told_by_readme() -> dict[str, str]:
    """Read the tree in the README: path below ``src/sightline`` -> its line."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```text\nsrc/sightline/\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block, "the README has no block that starts with 'src/sightline/'"
    told: dict[str, str] = {}
    folders: list[str] = []
    for line in block[1].splitlines():
        indent, name, says = re.fullmatch(r"( *)(\S+) *(.*)", line).groups()  # type: ignore[union-attr]
        folders = folders[: len(indent) // 2 - 1]
        path = "".join(folders) + name
        assert says, f"README: '{path}' stands in the tree without a word"
        assert path not in told, f"README: '{path}' stands in the tree twice"
        told[path] = says
        if name.endswith("/"):
            folders.append(name)
    return told


def test_the_readme_names_every_file() -> None:
    """A folder's line tells its ``__init__.py``, which holds a docstring and nothing else."""
    exists = {
        str(path.relative_to(SOURCE)) + "/" * path.is_dir()
        for path in SOURCE.rglob("*")
        if not any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(SOURCE).parts)
    }
    exists -= {path for path in exists if path.endswith("/__init__.py")}
    told = set(told_by_readme())
    assert exists - told == set(), "files the README's tree leaves out"
    assert told - exists == set(), "lines in the README's tree without a file"


@pytest.mark.parametrize("file", [f for f in FILES if f.name == "__init__.py" and f.parent != SOURCE], ids=module)
def test_importing_a_room_does_nothing(file: Path) -> None:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    assert len(body) == 1, f"{file} holds code; names are public at `sightline` or in their own file"


def imported(*command: str) -> set[str]:
    """Run Python with ``-X importtime`` and give the names of all modules it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True, timeout=120
    )
    return {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_importing_sightline_imports_nothing_heavy() -> None:
    names = imported("-c", "import sightline")
    assert "sightline" in names
    assert {name.split(".")[0] for name in names} & {"torch", "numpy", "pydantic", "PIL", "typer", "rich"} == set()


def test_help_imports_no_torch() -> None:
    names = imported("-m", "sightline", "--help")
    assert "sightline.cli" in names
    assert {name.split(".")[0] for name in names} & {"torch", "numpy", "sklearn", "matplotlib", "scipy"} == set()
