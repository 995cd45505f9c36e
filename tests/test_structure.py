"""The order of the folders: each may import only what stands below it; no folder grows too long.

And a name means one thing: no class of one stage is a class or a type of another.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The top first; what stands in one line knows nothing of each other, unless it is the same folder.
ORDER = {
    "adapt": [
        "cli",
        "methods",
        "stages",
        "fit",
        "evaluation monitor",
        "pictures losses optimizers checkpoint",
        "data saved_state device",
        "networks game run",
        "bounds",
    ],
    "export": [
        "cli from_module",
        "make",
        "triton",
        "report tensorrt",
        "precision export_graphs",
        "verification",
        "graph provenance",
        "frames bundle",
    ],
    "serve": [
        "cli",
        "processes tracing",
        "http grpc library remote",
        "device_check protocol archive",
        "media models",
        "runtime",
        "limits",
    ],
    "demo": ["cli quickstart", "page", "bundle_facts", "html_parts"],
}
# What a stage may import of another, without exception: the stages meet on disk, so who reads a
# bundle knows its format alone, and the quickstart calls the others as commands.
READS = {
    "adapt": (),
    "export": ("adapt", "serve"),
    "serve": ("export.bundle",),
    "demo": ("export.bundle", "serve"),
}
MOST = 14
# Only a folder that carries requests may know how they travel.
TRANSPORTS = {"starlette", "uvicorn", "grpc"}
WITHOUT_TRANSPORT = ("models", "media", "runtime", "protocol", "archive")
# A score is a score: mIoU and the classes' IoU in percent, as adapt writes and the report reads it.
SAME_MEANING = {"Scores"}


def modules(stage: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / stage).rglob("*.py")):
        parts = path.relative_to(ROOT / stage).with_suffix("").parts
        if parts != ("__init__",):
            yield parts[0], path


def imported(path: Path) -> Iterator[str]:
    """The dotted names that a file imports anywhere, functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("stage", ORDER)
def test_no_import_runs_against_the_order(stage: str) -> None:
    rank = {name: i for i, line in enumerate(ORDER[stage]) for name in line.split()}
    assert {part for part, _ in modules(stage)} == rank.keys()
    wrong: list[str] = []
    for part, path in modules(stage):
        for name in imported(path):
            of, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if of == stage and other in rank and other != part and rank[other] <= rank[part]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("stage", ORDER)
def test_a_stage_imports_of_another_only_what_it_reads(stage: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / stage).rglob("*.py"))
        for name in imported(path)
        if name.split(".")[0] in ORDER.keys() - {stage}
        and not any(f"{name}.".startswith(f"{read}.") for read in READS[stage])
    ]
    assert wrong == []


@pytest.mark.parametrize("part", WITHOUT_TRANSPORT)
def test_what_answers_knows_no_transport(part: str) -> None:
    paths = sorted((ROOT / "serve" / part).rglob("*.py"))
    assert paths
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imported(path)
        if name.split(".")[0] in TRANSPORTS
    ]
    assert wrong == []


def types(stage: str) -> Iterator[tuple[str, bool]]:
    """The public names of a stage's top-level classes and type aliases, and whether a class."""
    for path in sorted((ROOT / stage).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                yield node.name, True
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in (target.id for target in targets if isinstance(target, ast.Name)):
                    if name[0].isupper() and not name.isupper():
                        yield name, False


def test_a_class_is_called_like_no_type_of_another_stage() -> None:
    found = {stage: list(types(stage)) for stage in ORDER}
    classes = {s: {name for name, is_class in of if is_class} for s, of in found.items()}
    assert all(classes.values())
    twice = {
        f"{name} of {stage} and of {other}"
        for stage, names in classes.items()
        for other, of in found.items()
        if other != stage
        for name in names & {name for name, _ in of}
        if not name.startswith("_") and name not in SAME_MEANING
    }
    assert twice == set()


@pytest.mark.parametrize("stage", ORDER)
def test_no_folder_holds_more_than_a_page(stage: str) -> None:
    folders = [ROOT / stage, *(p for p in (ROOT / stage).rglob("*") if p.is_dir())]
    counts = {f.relative_to(ROOT): len(list(f.glob("*.py"))) for f in folders}
    assert {folder: n for folder, n in counts.items() if n > MOST} == {}
