"""The rules of the house that a program can check; each test's message says where and what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from lake.tables import TABLES
from transforms.feeds import FEEDS

ROOT = Path(__file__).parents[1]
MAY_IMPORT: dict[str, set[str]] = {
    "lake": set(),
    "transforms": {"lake"},
    "quality_checks": {"lake", "transforms"},
    "ingest": {"lake", "transforms", "quality_checks"},
    "serving": {"lake", "transforms", "quality_checks", "ingest"},
    "notebooks": {"lake", "serving"},
}
DOORS: dict[str, tuple[str, ...]] = {
    "pyiceberg": ("lake/",),
    "duckdb": ("lake/scan.py", "lake/content.py", "lake/maintenance/engine.py", "quality_checks/gate.py", "serving/sql.py"),
    "soda_core": ("quality_checks/gate.py",),
    "soda_duckdb": ("quality_checks/gate.py",),
    "sqlalchemy": (
        "lake/databases.py",
        "lake/state.py",
        "lake/state_tables.py",
        "lake/catalog.py",
        "lake/configurations.py",
        "lake/tallies.py",
    ),
    "ray": ("lake/ray_runner.py",),
    "pg8000": (),
    "fsspec": ("lake/objects.py",),
    "kafka": ("lake/log/kafka.py", "lake/log/kafka_client.py", "serving/topics/"),
    "httpx": ("ingest/transport/", "serving/client.py"),
    "requests": (),
    "aiohttp": (),
    "websockets": ("ingest/transport/", "ingest/simulator/", "serving/client.py"),
    "fastapi": ("serving/", "ingest/simulator/"),
    "starlette": ("serving/", "ingest/simulator/"),
    "uvicorn": ("serving/", "ingest/simulator/"),
}
"""A large library comes in by its own door only."""

ENVIRONMENT_READ_BY = (
    "lake/settings.py",
    "serving/cli/",
    "serving/demo/",
    "serving/operate/",
    "ingest/simulator/",
    "quality_checks/gate.py",
    "lake/ray_runner.py",
)
"""Entry points; the gate and the Ray runner set a switch of Soda's and Ray's before importing them."""

CLOCK_CALLS = re.compile(r"(?:time\.time|time\.time_ns|datetime\.now|datetime\.utcnow|datetime\.today|date\.today)\Z")
WEAK_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}
TOP_LEVEL = {*MAY_IMPORT, "tests", "pyproject.toml", "README.md", "Makefile", "LICENSE", "constraints.txt"}
LEFT_BEHIND = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|(?<![\w./])/(?:work|root|farm|home)/[\w.]+")
CHECKING = re.compile(r"assert|raises|warns|check|expect|verify|equal|compare", re.I)
GATED = ("normalized", "adjusted")
LONGEST_FUNCTION, LONGEST_FILE = 60, 400
LONGEST_README = 120


@dataclass(frozen=True)
class Module:
    """One Python file of ours."""

    path: str
    """Relative to the root, with forward slashes."""
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.partition("/")[0]

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


def files(*suffixes: str) -> list[Path]:
    return sorted(
        path
        for folder in (*MAY_IMPORT, "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and "__pycache__" not in path.parts and ".tickhouse" not in path.parts
    )


@cache
def modules() -> tuple[Module, ...]:
    return tuple(
        Module(path.relative_to(ROOT).as_posix(), text := path.read_text(encoding="utf-8"), ast.parse(text))
        for path in files(".py")
    )


def ours() -> list[Module]:
    return [module for module in modules() if module.package != "tests"]


def suite() -> list[Module]:
    return [module for module in modules() if module.package == "tests"]


def imports(module: Module) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module


def functions(module: Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, list[ast.AST]]]:
    def walk(node: ast.AST, parents: list[ast.AST]) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, list[ast.AST]]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield child, parents
            yield from walk(child, [*parents, child])

    yield from walk(module.tree, [])


def assert_none(rows: list[str]) -> None:
    assert not rows, "\n" + "\n".join(rows)


def test_imports_go_one_way():
    assert_none(
        [
            f"{module.at(node)} {module.package} imports {name}"
            for module in ours()
            for node, name in imports(module)
            if (top := name.partition(".")[0]) in {*MAY_IMPORT, "tests"}
            and top != module.package
            and top not in MAY_IMPORT[module.package]
        ]
    )


def test_large_libraries_come_in_by_their_doors():
    assert_none(
        [
            f"{module.at(node)} imports {name}; its doors are {', '.join(doors) or 'none'}"
            for module in ours()
            for node, name in imports(module)
            if (doors := DOORS.get(name.partition(".")[0])) is not None and not module.path.startswith(doors)
        ]
    )


def test_what_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[\[<>=~! ]", line)[0].lower().replace("_", "-") for line in project["dependencies"]}
    extras = {re.split(r"[\[<>=~! ]", line)[0].lower().replace("_", "-") for line in project["optional-dependencies"]["dev"]}
    known = packages_distributions()
    undeclared = {
        f"{module.at(node)} imports {name}, of no declared dependency"
        for module in modules()
        for node, name in imports(module)
        if (top := name.partition(".")[0]) not in sys.stdlib_module_names
        and top
        not in {*MAY_IMPORT, "tests", "cryptofeed", "chdb", "arcticdb", "deltalake", "simplefix", "itch", "iex_parser", "atheris"}
        and not {found.lower().replace("_", "-") for found in known.get(top, [top])}
        & (declared | (extras if module.package == "tests" else set()))
    }
    assert_none(sorted(undeclared))


def test_the_clock_and_the_environment_are_read_in_their_places():
    rows = []
    for module in ours():
        for node in ast.walk(module.tree):
            words = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if CLOCK_CALLS.search(words) and module.path != "lake/instants.py":
                rows.append(f"{module.at(node)} {words}: the clock is read in lake/instants.py and passed in")
            is_environment = isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
            if is_environment and not module.path.startswith(ENVIRONMENT_READ_BY):
                rows.append(f"{module.at(node)} reads the environment; entry points do, and pass it in")
    assert_none(rows)


def test_nothing_is_swallowed_or_left_to_do():
    rows = []
    for module in ours():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler):
                is_broad = node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"}
                if is_broad and all(isinstance(step, ast.Pass | ast.Continue) for step in node.body):
                    rows.append(f"{module.at(node)} a broad except that does nothing")
        for function, parents in functions(module):
            if _is_stub(function) and not _is_declaration(function, parents):
                rows.append(f"{module.at(function)} {function.name} does nothing")
    for path in files(".py", ".md", ".yml", ".toml"):
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if LEFT_BEHIND.search(line):
                rows.append(f"{path.relative_to(ROOT)}:{number} left behind: {line.strip()[:100]}")
    assert_none(rows)


def _is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    body = [step for step in function.body if not (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))]
    if len(body) > 1:
        return False
    only = body[0] if body else ast.Pass()
    return isinstance(only, ast.Pass) or (isinstance(only, ast.Raise) and "NotImplementedError" in ast.dump(only))


def _is_declaration(function: ast.FunctionDef | ast.AsyncFunctionDef, parents: list[ast.AST]) -> bool:
    decorators = "".join(map(ast.dump, function.decorator_list))
    classes = [one for one in parents if isinstance(one, ast.ClassDef)]
    in_protocol = any("Protocol" in "".join(map(ast.dump, one.bases)) for one in classes)
    in_null_object = any((ast.get_docstring(one) or "").startswith("Does nothing") for one in classes)
    return in_protocol or in_null_object or "abstractmethod" in decorators or "overload" in decorators


def test_functions_and_files_can_be_read_at_once():
    rows = [f"{module.path} has {count} lines" for module in ours() if (count := module.text.count("\n")) > LONGEST_FILE]
    for module in ours():
        for function, _ in functions(module):
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > LONGEST_FUNCTION:
                rows.append(f"{module.at(function)} {function.name} has {length} lines")
    assert_none(rows)


def test_names_say_what_is_inside():
    assert_none([module.path for module in modules() if Path(module.path).stem in WEAK_NAMES])


def test_only_adjust_multiplies_decimals():
    assert_none(
        [
            f"{module.at(node)} multiplies decimals in Arrow; transforms/adjust.py does"
            for module in ours()
            if module.path != "transforms/adjust.py"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"pc.multiply", "pc.divide", "pa.compute.multiply"}
        ]
    )


def test_every_test_checks_something_and_waits_for_nothing():
    checking = _checking_helpers()
    rows = []
    for module in suite():
        for function, _ in functions(module):
            if function.name.startswith("test") and not _checks(function, checking):
                rows.append(f"{module.at(function)} {function.name} checks nothing")
        for node in ast.walk(module.tree):
            words = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if words in {"time.sleep", "asyncio.sleep"}:
                rows.append(f"{module.at(node)} sleeps")
            excuse = words.endswith(("pytest.skip", "mark.skip", "mark.skipif", "mark.xfail", "pytest.xfail", "importorskip"))
            if excuse and module.path != "tests/optional_parts.py":
                rows.append(f"{module.at(node)} excuses itself; use @pytest.mark.needs(part), or go_without in a fixture")
            if words.endswith(("monkeypatch.setattr", "mock.patch", "patch.object")) or words in {"Mock", "MagicMock"}:
                rows.append(f"{module.at(node)} patches; a fake is a small class with the same few methods")
    assert_none(rows)


def _checking_helpers() -> set[str]:
    """Names of the suite's own functions that check something, directly or by calling one that does."""
    helpers = [function for module in suite() for function, _ in functions(module) if not function.name.startswith("test")]
    found: set[str] = set()
    while more := {helper.name for helper in helpers if helper.name not in found and _checks(helper, found)}:
        found |= more
    return found


def _checks(function: ast.FunctionDef | ast.AsyncFunctionDef, helpers: set[str]) -> bool:
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and CHECKING.search(ast.unparse(node.func)) is not None)
        or (isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in helpers)
        for node in ast.walk(function)
    )


def test_no_test_needs_what_lies_outside():
    outside = re.compile(r"\.\./shared|/shared/")
    assert_none(
        [
            f"{path.relative_to(ROOT)}:{number} {line.strip()[:100]}"
            for path in [*files(".py", ".yml", ".toml"), ROOT / "Makefile", ROOT / ".ci" / "run"]
            if path != Path(__file__)
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if outside.search(line)
        ]
    )


@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if table.namespace in GATED])
def test_every_gated_table_has_one_contract(name: str):
    assert (ROOT / "quality_checks" / "contracts" / f"{name}.yml").is_file()


def test_every_contract_is_of_a_table():
    assert_none([path.name for path in (ROOT / "quality_checks" / "contracts").glob("*") if path.stem not in TABLES])


@pytest.mark.parametrize("provider", sorted({provider for provider, _ in FEEDS}))
def test_every_provider_has_a_decoder_and_samples_of_known_origin(provider: str):
    cases = [path for path in (ROOT / "tests" / "samples" / provider).glob("*") if path.is_dir()]
    assert (ROOT / "transforms" / "decode" / f"{provider}.py").is_file() or list(
        (ROOT / "transforms" / "decode").glob(f"{provider}_*.py")
    )
    assert cases, f"no samples for {provider}"
    assert_none([f"{case.relative_to(ROOT)} has no ORIGIN.md" for case in cases if not (case / "ORIGIN.md").is_file()])


def test_every_feed_fills_tables_that_exist():
    assert FEEDS
    assert_none([f"{key} fills {name}" for key, feed in FEEDS.items() for name in feed.tables if name not in TABLES])


@pytest.mark.parametrize(
    "folder",
    [
        "lake",
        "lake/backup",
        "lake/log",
        "lake/maintenance",
        "transforms",
        "quality_checks",
        "ingest",
        "serving",
        "serving/topics",
        "tests/benchmarks",
    ],
)
def test_every_folder_has_a_page(folder: str):
    page = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert page.startswith("# ")
    assert page.count("\n") <= LONGEST_README


def pages() -> list[Path]:
    return [ROOT / "README.md", *(path for path in files(".md") if path.name == "README.md")]


def test_links_in_pages_lead_somewhere():
    assert_none(
        [
            f"{page.relative_to(ROOT)} links to {target}"
            for page in pages()
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
            if "://" not in target and not (page.parent / target).exists()
        ]
    )


def test_commands_in_pages_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    listed = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "serving.cli.main", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    verbs = set(re.findall(r"^[│\s]+([a-z][a-z-]*)\s{2,}", listed, re.M))
    rows = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", text, re.M | re.S)
        spoken = [line for block in blocks for line in block.splitlines()] + re.findall(r"`((?:make|tickhouse) [^`]+)`", text)
        for line in spoken:
            for tool, word in re.findall(r"(?:^|\s|/)(make|tickhouse) ([a-z][a-z-]*)\b", line.partition("#")[0]):
                if word not in (targets if tool == "make" else verbs):
                    rows.append(f"{page.relative_to(ROOT)}: no `{tool} {word}`")
    assert_none(rows)


def test_the_top_level_is_as_agreed():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    tops = {line.partition("/")[0] for line in listed}
    assert {top for top in tops if not top.startswith(".")} <= TOP_LEVEL


def test_versions_are_pinned_without_addresses():
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert_none([line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)])
    pinned = {line.partition("==")[0].lower().replace("_", "-").replace(".", "-") for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    names = {re.split(r"[\[<>=~! ]", line)[0].lower().replace("_", "-").replace(".", "-") for line in wanted}
    assert names <= pinned
