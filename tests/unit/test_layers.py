"""Hold the packages to their ranks: imports only point down, each outside library has one owner, values do no I/O.

The packages, from the bottom up, are listed in RANKS; ARCHITECTURE.md says what each is for.
"""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median, quantiles

import pytest
from servers import Upstream

import crawler

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "crawler"

# An import goes to a package of a lower rank, or stays inside its own.
RANKS = (
    {"core"},
    {"formats", "rate_control", "upstream"},
    {"runs", "adapters"},
    {"engine", "reporting", "views"},
    {"fan_out"},
    {"app"},
    {"entrypoints"},
    {"main", "crawler", "__main__"},
)
RANK = {package: rank for rank, packages in enumerate(RANKS) for package in packages}

# An adapter puts one outside library behind a port: what a run is, or how songs are rated, is not its business.
ADAPTERS_KNOW = {"core", "formats", "upstream", "adapters"}

# The modules that may import a library; msgspec is everybody's.
OWNERS = {
    "certifi": {"crawler.adapters.curl.fetcher"},
    # For whoever has it: nothing here needs it.
    "duckdb": {"crawler.adapters.duckdb_file"},
    "flask": {"main"},
    "functions_framework": {"main"},
    "google.api_core": {"crawler.adapters.storage.gcs"},
    "google.auth": {"crawler.adapters.storage.gcs", "crawler.adapters.queue.cloud_tasks"},
    "google.cloud": {"crawler.adapters.storage.gcs"},
    "google_crc32c": {"crawler.formats.checksum"},
    "jinja2": {"crawler.entrypoints.http.pages"},
    "jmespath": {"crawler.upstream.expression"},
    "nest_asyncio": {"crawler.adapters.runtime.event_loop"},
    "pycurl": {
        f"crawler.adapters.curl.{name}"
        for name in ("bearer", "declared_transfer", "fetcher", "sent_requests", "sockets", "transfer")
    },
    "protego": {"crawler.upstream.robots_rules"},
    # For whoever has it: nothing here needs it.
    "pandas": {
        *("crawler.entrypoints.python.songs", "crawler.entrypoints.python.stored_run"),
        "crawler.entrypoints.python.table",
    },
    "pyarrow": {"crawler.formats.parquet_rows"},
    "pygal": {"crawler.entrypoints.http.charts"},
    # The storage library lets requests' own errors through, so its adapter knows them by name.
    "requests": {
        *(
            "crawler.adapters.session.fetchers",
            "crawler.adapters.session.connections",
            "crawler.adapters.session.responses",
            "crawler.adapters.session.bearer",
            "crawler.adapters.session.token_request",
        ),
        *("crawler.adapters.storage.gcs", "crawler.adapters.queue.cloud_tasks"),
    },
    "tqdm": {"crawler.app.progress_bar"},
    # Python has it from 3.11 on, under the other name.
    "tomli": {"crawler.app.source_file"},
    "tomllib": {"crawler.app.source_file"},
    "urllib3": {"crawler.adapters.session.fetchers", "crawler.adapters.session.connections"},
}

# A user's function takes a requests.Session: these say so in annotations, and do nothing else with the library.
ANNOTATES_REQUESTS = {"crawler.app.fetchers", "crawler.entrypoints.python.api"}

# I/O, clocks and chance, all of which a rule is given as values.
IMPURE = {
    *("asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "random", "secrets"),
    *("select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading"),
    *("time", "urllib.request", "uuid"),
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "now", "utcnow", "today"}

# The engine waits and tells the time through its Clock, and takes everything else as an argument.
NOT_THE_ENGINES = {"datetime", "http", "logging", "os", "pathlib", "socket", "ssl", "subprocess", "sys", "time"}

# google.cloud itself is a namespace that functions_framework fills too.
HEAVY = ["datasette", "google.api_core", "google.auth", "google.cloud.storage", "google_crc32c", "nest_asyncio"]
HEAVY += ["jmespath", "pandas", "pyarrow", "pycurl", "pygal", "tqdm"]

# What a crawl needs, and a call that asks how a run stands does not.
FOR_CRAWLS = ["asyncio", "requests", "urllib3"]

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
Definition = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def module_name(path: Path) -> str:
    """Give the name under which a file is imported."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in [ROOT / "main.py", *sorted(PACKAGE.rglob("*.py"))]}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def package_of(module: str) -> str:
    """Return the package that a module lies in; main and crawler itself are packages of their own."""
    return module.removeprefix("crawler.").partition(".")[0]


def modules_of(*packages: str) -> list[str]:
    """List the modules of some packages."""
    return [name for name in MODULES if package_of(name) in packages]


# The limiter has a lock, so that the workers share one rate control; a port names the type of one.
PURE = sorted(
    {*modules_of("core", "formats", "upstream", "runs", "rate_control")}
    - {"crawler.rate_control.limiter", "crawler.core.ports"}
)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a tree imports anywhere: also inside functions, and for annotations only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = [f"{module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else module for name in names)


def in_package(name: str, package: str) -> bool:
    """Tell whether a module is a package or lies in it."""
    return f"{name}.".startswith(f"{package}.")


def calls(tree: ast.AST) -> set[str]:
    """Collect the last names of everything called."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {function.id for function in functions if isinstance(function, ast.Name)}
    return names | {function.attr for function in functions if isinstance(function, ast.Attribute)}


def annotations_of(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield every annotation."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION) and node.returns:
            yield node.returns
        elif isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation:
            yield node.annotation


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines from its signature on, its docstring apart."""
    documentation = function.body[0] if ast.get_docstring(function) else None
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - ((documentation.end_lineno or 0) - documentation.lineno + 1 if documentation else 0)


def public_definitions(node: Definition, path: str) -> Iterator[tuple[str, Definition]]:
    """Yield a module, class or function and what is public in it; magic methods mean what Python says."""
    yield path, node
    for inner in [] if isinstance(node, FUNCTION) else node.body:
        if isinstance(inner, (ast.ClassDef, *FUNCTION)) and not inner.name.startswith("_"):
            yield from public_definitions(inner, f"{path}.{inner.name}")


def run_python(code: str) -> str:
    """Run code in a fresh interpreter, in the project's folder; gives what it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import os.path, crawler.engine.dispatcher", ["os.path", "crawler.engine.dispatcher"]),
        ("from crawler.engine.dispatcher import Dispatcher, Limits", ["crawler.engine.dispatcher"] * 2),
        ("from crawler.engine import dispatcher", ["crawler.engine.dispatcher"]),
        ("from crawler import engine", ["crawler.engine"]),
        ("def f():\n    from google.cloud import storage", ["google.cloud"]),
        ("if TYPE_CHECKING:\n    import flask", ["flask"]),
        ("from .work import Work", [".work"]),
    ],
    ids=["import", "from a module", "from a package", "a package", "in a function", "for annotations", "relative"],
)
def test_every_kind_of_import_is_seen(code: str, names: list[str]) -> None:
    """Read imports wherever and however they are written: the tests below lean on it."""
    assert list(imports(ast.parse(code))) == names


def test_every_package_has_a_rank() -> None:
    """Know the rank of each package: a new folder of crawler/ must be given one first."""
    assert {package_of(name) for name in MODULES} == set(RANK)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """Import from this project only what lies in the same package, or in one of a lower rank."""
    own = package_of(module)
    others = {package_of(name) for name in imports(TREES[module]) if in_package(name, "crawler")} - {own}

    assert [name for name in sorted(others) if RANK[name] >= RANK[own]] == []


@pytest.mark.parametrize("module", modules_of("adapters"))
def test_adapters_know_no_runs(module: str) -> None:
    """Keep runs, the engine and the rate control out of the adapters."""
    ours = [name for name in imports(TREES[module]) if in_package(name, "crawler")]

    assert [name for name in ours if package_of(name) not in ADAPTERS_KNOW] == []


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_absolute_and_by_module(module: str) -> None:
    """Name the module that defines what is imported: no relative import, no detour through a package's __init__."""
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}

    assert [name for name in imports(TREES[module]) if name.startswith(".") or name in packages] == []


def test_no_imports_go_in_circles() -> None:
    """Let siblings know each other one way only."""
    graph = {name: set(imports(tree)) & set(MODULES) for name, tree in TREES.items()}

    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_libraries_have_owners(module: str) -> None:
    """Import an outside library only where it is at home, so that it can be replaced there."""
    outside = [
        name
        for name in imports(TREES[module])
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "crawler", "msgspec"}
    ]
    at_home = {library for library, owners in OWNERS.items() if module in owners}
    at_home |= {"requests"} if module in ANNOTATES_REQUESTS else set()

    assert [name for name in outside if not any(in_package(name, library) for library in at_home)] == []


@pytest.mark.parametrize("library", OWNERS)
def test_owners_use_what_they_own(library: str) -> None:
    """Keep no owner in the table that has given its library up."""
    users = {name for name, tree in TREES.items() if any(in_package(used, library) for used in imports(tree))}

    assert users - ANNOTATES_REQUESTS == OWNERS[library]


@pytest.mark.parametrize("module", sorted(ANNOTATES_REQUESTS))
def test_requests_is_named_in_annotations_only(module: str) -> None:
    """Use nothing of requests there but the name of a session's type."""
    tree = TREES[module]
    uses = {node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "requests"}
    annotated = {node for annotation in annotations_of(tree) for node in ast.walk(annotation)}

    assert uses
    assert uses <= annotated


@pytest.mark.parametrize("module", modules_of("core"))
def test_core_needs_nothing(module: str) -> None:
    """Import the standard library and msgspec in core, nothing else from outside."""
    known = {*sys.stdlib_module_names, "crawler", "msgspec"}

    assert {name.partition(".")[0] for name in imports(TREES[module])} <= known


@pytest.mark.parametrize("module", PURE)
def test_values_do_no_io_and_have_no_clock(module: str) -> None:
    """Decide about values only: no file, socket, thread, clock or chance; the time is an argument."""
    impure = [name for name in imports(TREES[module]) if any(in_package(name, banned) for banned in IMPURE)]

    assert impure == []
    assert calls(TREES[module]) & IMPURE_CALLS == set()


@pytest.mark.parametrize("module", modules_of("engine"))
def test_the_engine_asks_its_ports(module: str) -> None:
    """Leave files, sockets and clocks to what the engine is given."""
    assert [name for name in imports(TREES[module]) if name.partition(".")[0] in NOT_THE_ENGINES] == []


@pytest.mark.parametrize("module", MODULES)
def test_only_entry_points_read_the_environment(module: str) -> None:
    """Hand the environment down as a mapping, from main.py or another entry point."""
    reads = {
        node.attr
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"}
    }
    names = {
        alias.name
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ImportFrom) and node.module == "os"
        for alias in node.names
    }

    # The storage library has a switch that is an environment variable only; its adapter sets it, and reads nothing.
    may = package_of(module) in {"main", "entrypoints"} or module == "crawler.adapters.storage.gcs"
    assert may or not reads | names & {"environ", "getenv"}


def test_the_function_starts_light() -> None:
    """Import main.py without the libraries that only a crawl needs, and create nothing: the server forks after it."""
    code = "import json, sys, threading, main, crawler; print(json.dumps([threading.active_count(), *sys.modules]))"
    threads, *loaded = json.loads(run_python(code))

    assert {"main", "crawler", "flask"} <= set(loaded)
    assert [name for name in loaded if any(in_package(name, library) for library in HEAVY + FOR_CRAWLS)] == []
    assert threads == 1


def test_the_first_crawl_of_declared_songs_needs_no_requests(tmp_path: Path) -> None:
    """Crawl what a URL declares, its robots.txt too, without the library that only a function of one's own needs."""
    settings = {"OUTPUT": str(tmp_path), "ALLOW_PRIVATE_UPSTREAM": "1"}
    with Upstream() as upstream:
        code = f"""if True:
            import json, sys
            from crawler.app.composition import deployment_from
            from crawler.app.parameters import parse_crawl
            deployment = deployment_from({settings | {"SONG_URL": upstream.url}!r})
            result = deployment.crawl(parse_crawl([("songs", "7")], b"", deployment.bounds))
            print(json.dumps([result.summary.state, *sys.modules]))"""
        state, *loaded = json.loads(run_python(code))

        assert (state, upstream.robots_asked, upstream.count()) == ("complete", 1, 1)
    assert [name for name in loaded if any(in_package(name, library) for library in ("requests", "urllib3"))] == []


def test_the_package_starts_lighter() -> None:
    """Import crawler without anything but itself, until a name of it is asked for."""
    loaded = json.loads(run_python("import json, sys, crawler; print(json.dumps(list(sys.modules)))"))

    assert [name for name in loaded if in_package(name, "crawler")] == ["crawler"]


def test_crawling_from_python_starts_without_the_cloud() -> None:
    """Import the public names without the bucket's libraries and without patching asyncio."""
    loaded = json.loads(run_python("import json, sys; from crawler import *; print(json.dumps(list(sys.modules)))"))
    heavy = set(HEAVY) - {"tqdm"}

    assert "crawler.entrypoints.python.api" in loaded
    assert [name for name in loaded if any(in_package(name, library) for library in heavy)] == []


def test_public_names_are_there() -> None:
    """Export the contract's names, sorted, each of them callable and described."""
    assert crawler.__all__ == sorted(crawler.__all__)
    assert set(crawler.__all__) == {
        *("SongRecord", "crawl", "open_run"),
        *("execute_async_event_loop", "get_data_asynchronously", "request_song_info"),
    }
    for name in crawler.__all__:
        assert callable(getattr(crawler, name))
        assert getattr(crawler, name).__doc__


def test_any_other_name_is_an_attribute_error() -> None:
    """Say which name the package does not have, as Python does."""
    with pytest.raises(AttributeError, match=r"^module 'crawler' has no attribute 'crawl_all'$"):
        _ = crawler.crawl_all


@pytest.mark.parametrize("module", MODULES)
def test_every_module_can_be_imported_alone(module: str) -> None:
    """Import each module by its name."""
    assert importlib.import_module(module)


@pytest.mark.parametrize("module", MODULES)
def test_everything_public_is_described(module: str) -> None:
    """Open every module, class, function and method that is public with a sentence or a title."""
    first_lines = {
        path: (ast.get_docstring(node) or "").partition("\n")[0]
        for path, node in public_definitions(TREES[module], module)
    }

    assert [path for path, line in first_lines.items() if not line.endswith((".", ":"))] == []


@pytest.mark.parametrize("module", MODULES)
def test_values_are_structs(module: str) -> None:
    """Hold what never changes in a msgspec.Struct: a frozen dataclass compiles its methods at every start."""
    decorators = [
        name for node in ast.walk(TREES[module]) if isinstance(node, ast.ClassDef) for name in node.decorator_list
    ]

    assert [decorator for decorator in map(ast.unparse, decorators) if "frozen" in decorator] == []


def test_functions_are_small() -> None:
    """Keep the median function under 10 lines and nine in ten at 24 or fewer, docstrings apart."""
    functions = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, FUNCTION)]
    lines = [length(function) for function in functions]

    assert median(lines) < 10
    assert quantiles(lines, n=10)[-1] <= 24


def test_modules_are_small() -> None:
    """Keep every module at 350 lines or fewer."""
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}

    assert {name: count for name, count in lines.items() if count > 350} == {}


def test_folders_are_small() -> None:
    """Keep every folder at 14 modules or fewer, so that its list is read at a glance."""
    modules = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")

    assert {folder.name: count for folder, count in modules.items() if count > 14} == {}
