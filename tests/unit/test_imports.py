"""The shape of the tree, enforced on its source: who may import whom, who may sleep, and no state in modules.

The tables are in ``layers.py``.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.layers import (
    DEPENDENCIES,
    FOR_DRIVERS,
    FOR_TRUST,
    LAYERS,
    LEAVES,
    OF_EXTRAS,
    ORDER,
    PYTEST,
    TRUST_PLUGIN,
)

ROOT = Path(__file__).parents[2]

MAY_SLEEP = {"kola/wait.py"}

MUTATORS = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft", "remove"),
    *("reverse", "setdefault", "sort", "update"),
}
CONTAINERS = {"list", "dict", "set", "defaultdict", "deque", "OrderedDict", "Counter"}


def imports(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of every import, also for type checking only; ``from a import b`` is ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def module_of(name: str) -> str:
    """Return the entry of ``LAYERS`` that a dotted name belongs to: ``checks`` for ``kola.checks.rule.Rule``."""
    _, _, rest = name.partition(".")
    first = rest.split(".")[0]
    exists = (ROOT / "kola" / first).is_dir() or (ROOT / "kola" / f"{first}.py").is_file()
    return first if first in LAYERS or exists else ""  # otherwise an attribute of the package: __version__


def layer_problem(importer: str, imported: str) -> str | None:
    """Say why one module of kola must not import another."""
    for module in (importer, imported):
        if module not in LAYERS:
            return f"kola.{module} is in no layer: add it to LAYERS in {Path(__file__).name}"
    if ORDER.index(LAYERS[imported]) > ORDER.index(LAYERS[importer]):
        return f"'{importer}' ({LAYERS[importer]}) must not import '{imported}' ({LAYERS[imported]})"
    return None


def kola_problem(module: str, name: str) -> str | None:
    """Say why ``kola.MODULE`` must not import that name."""
    top = name.partition(".")[0]
    if top == "kola":
        return layer_problem(module, module_of(name))
    if top in {"pytest", "_pytest", "xdist"} and module not in PYTEST:
        return f"'{module}' must not know pytest"
    if top in {"platforms", "rehearsal", "trust", "tests", "ci", "conftest"}:
        return f"kola must not import {top}: drivers are found by name"
    if module != (alone := OF_EXTRAS.get(top, module)):
        return f"{top} is for kola.{alone} alone"
    if top not in sys.stdlib_module_names | DEPENDENCIES:
        return f"{top} is no dependency of kola"
    return None


def driver_problem(driver: str, name: str) -> str | None:
    """Say why ``platforms.DRIVER`` must not import that name."""
    parts = name.split(".")
    if parts[0] == "kola":
        module = module_of(name)
        if LAYERS.get(module) == LEAVES or module in FOR_DRIVERS:
            return None
        return f"a driver must not import kola.{module}, only leaves, {', '.join(sorted(FOR_DRIVERS))}"
    if parts[0] == "platforms" and parts[1:2] != [driver]:
        return f"the driver '{driver}' must not import another: {name}"
    if parts[0] in {"pytest", "_pytest", "xdist", "tests", "ci", "conftest"}:
        return f"a driver must not import {parts[0]}"
    return None


def rehearsal_problem(name: str) -> str | None:
    """Say why the rehearsed clouds must not import that name: no driver that is rehearsed, nothing of a run."""
    parts = name.split(".")
    if parts[0] == "kola" and LAYERS.get(module_of(name)) != LEAVES:
        return f"a rehearsal must not import kola.{module_of(name)}, only leaves"
    if parts[0] == "platforms" and parts[1:2] != ["qemu"]:
        return f"a rehearsal must not import the driver that it rehearses: {name}"
    if parts[0] in {"pytest", "_pytest", "xdist", "tests", "ci", "conftest"}:
        return f"a rehearsal must not import {parts[0]}"
    return None


def trust_problem(module: str, name: str) -> str | None:
    """Say why ``trust.MODULE`` must not import that name: of kola only leaves and its jobs, but for the plugin."""
    top = name.partition(".")[0]
    plugin = module == TRUST_PLUGIN
    if top == "kola" and not (plugin or LAYERS.get(module_of(name)) == LEAVES or module_of(name) in FOR_TRUST):
        return f"trust must not import kola.{module_of(name)}, only leaves, {', '.join(sorted(FOR_TRUST))}"
    if top in {"pytest", "_pytest", "xdist"} and not plugin:
        return f"'{module}' must not know pytest: that is for trust.{TRUST_PLUGIN}"
    if top in {"platforms", "rehearsal", "tests", "ci", "conftest"}:
        return f"trust must not import {top}"
    if top not in {*sys.stdlib_module_names, "kola", "trust", "pytest", "_pytest", "xdist"}:
        return f"{top} is no dependency of trust"
    return None


def import_problems(path: str, source: str) -> list[str]:
    """Return what is wrong with the imports of one file, named by its path in the repository."""
    top, *rest = path.removesuffix(".py").split("/")
    package = ".".join([top, *rest[:-1]])
    module = "" if rest == ["__init__"] else rest[0] if rest else ""
    found = []
    for line, name in imports(ast.parse(source), package):
        problem = None
        if top == "kola":
            problem = kola_problem(module, name)
        elif top == "platforms":
            problem = driver_problem(module, name)
        elif top == "rehearsal":
            problem = rehearsal_problem(name)
        elif top == "trust":
            problem = trust_problem(module, name)
        elif name.split(".")[0] == "ci":
            problem = "nothing imports ci"
        if problem:
            found.append(f"{path}:{line}: {problem}")
    return found


def sleep_problems(path: str, source: str) -> list[str]:
    """Return where a file sleeps by itself, under whatever name it imported the module."""
    found = []
    for node in ast.walk(ast.parse(source)):
        attribute = isinstance(node, ast.Attribute) and node.attr == "sleep" and isinstance(node.value, ast.Name)
        imported = isinstance(node, ast.ImportFrom) and "sleep" in {alias.name for alias in node.names}
        if attribute or imported:
            found.append(f"{path}:{node.lineno}: sleep; use kola.wait.wait_until")  # type: ignore[attr-defined]
    return found


def state_problems(path: str, source: str) -> list[str]:
    """Return where a module rebinds its globals or changes a container that it holds."""
    tree = ast.parse(source)
    containers = {name for node in tree.body for name in container_names(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            found.append(f"{path}:{node.lineno}: global {', '.join(node.names)}")
            continue
        changed: ast.expr | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            changed = node.func.value
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            changed = node.value
        if isinstance(changed, ast.Name) and changed.id in containers:
            found.append(f"{path}:{changed.lineno}: the module's {changed.id} is changed")
    return found


def container_names(node: ast.stmt) -> list[str]:
    """Return the names that a statement of a module binds to something mutable."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return []
    value = node.value
    literal = isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
    made = isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] in CONTAINERS
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)] if literal or made else []


def files(*folders: str) -> dict[str, str]:
    """Return path and source of every Python file below these folders."""
    found = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in sorted(found)}


def test_everybody_imports_only_what_is_below() -> None:
    sources = files("kola", "platforms", "rehearsal", "trust", "tests")
    assert len(sources) > 50
    assert [problem for path, source in sources.items() for problem in import_problems(path, source)] == []


def test_every_module_has_its_layer_and_the_table_names_no_other() -> None:
    folder = ROOT / "kola"
    modules = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    modules = modules - {"__init__"} | {""}
    missing, stale = modules - LAYERS.keys(), LAYERS.keys() - modules
    assert not missing, f"add to LAYERS in {Path(__file__).name}: {sorted(missing)}"
    assert not stale, f"gone, remove from LAYERS: {sorted(stale)}"
    assert modules >= PYTEST


def test_nobody_sleeps_but_wait() -> None:
    sources = files("kola", "platforms", "rehearsal", "trust", "tests", "ci")
    sleepers = {path for path, source in sources.items() if sleep_problems(path, source)}
    assert sleepers == MAY_SLEEP


def test_modules_hold_no_state() -> None:
    sources = files("kola", "platforms", "rehearsal", "trust")
    assert [problem for path, source in sources.items() for problem in state_problems(path, source)] == []


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("kola/spec.py", "from kola.platform import Platform", "'spec' (leaves) must not import 'platform' (base)"),
        ("kola/spec.py", "from kola import machine", "'spec' (leaves) must not import 'machine' (run)"),
        ("kola/spec.py", "from . import flight", "'spec' (leaves) must not import 'flight' (run)"),
        ("kola/checks/rule.py", "from ..machine import Machine", "'checks' (leaves) must not import 'machine' (run)"),
        (
            "kola/checks/rule.py",
            "if TYPE_CHECKING:\n    import kola.ssh",
            "'checks' (leaves) must not import 'ssh' (base)",
        ),
        ("kola/ssh.py", "def f():\n    from kola.machine import M", "'ssh' (base) must not import 'machine' (run)"),
        ("kola/machine.py", "import kola.plugin", "'machine' (run) must not import 'plugin' (top)"),
        ("kola/novel.py", "import kola.errors", "kola.novel is in no layer: add it to LAYERS in test_imports.py"),
        ("kola/machine.py", "import pytest", "'machine' must not know pytest"),
        ("kola/results.py", "from xdist import x", "'results' must not know pytest"),
        ("kola/machine.py", "import platforms.qemu", "kola must not import platforms: drivers are found by name"),
        ("kola/machine.py", "import libvirt", "libvirt is no dependency of kola"),
        ("platforms/a.py", "import platforms.b", "the driver 'a' must not import another: platforms.b"),
        ("platforms/a/x.py", "from platforms import b", "the driver 'a' must not import another: platforms.b"),
        ("platforms/a/x.py", "from .. import b", "the driver 'a' must not import another: platforms.b"),
        (
            "platforms/a.py",
            "from kola.machine import Machine",
            "a driver must not import kola.machine, only leaves, cloud, images, platform",
        ),
        ("platforms/a.py", "import pytest", "a driver must not import pytest"),
        (
            "rehearsal/aws.py",
            "import platforms.aws",
            "a rehearsal must not import the driver that it rehearses: platforms.aws",
        ),
        ("rehearsal/aws.py", "import kola.run", "a rehearsal must not import kola.run, only leaves"),
        ("kola/machine.py", "import trust.faults", "kola must not import trust: drivers are found by name"),
        ("trust/table.py", "import kola.run", "trust must not import kola.run, only leaves, jobs"),
        ("trust/table.py", "import pytest", "'table' must not know pytest: that is for trust.kolafault"),
        ("trust/kolafault.py", "import tests.suites", "trust must not import tests"),
        ("tests/unit/test_a.py", "import ci.testos", "nothing imports ci"),
    ],
)
def test_a_wrong_import_is_found(path: str, source: str, problem: str) -> None:
    line = source.count("\n") + 1
    assert import_problems(path, source) == [f"{path}:{line}: {problem}"]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("kola/machine.py", "from kola import __version__, ssh\nimport paramiko, json"),
        ("kola/plugin.py", "import pytest\nfrom kola.flight import Flight"),
        ("kola/checks/rule.py", "from .table import x\nfrom kola.errors import KolaError"),
        (
            "platforms/a/x.py",
            "import libvirt\nfrom platforms.a import y\nfrom . import z\nfrom kola.platform import Platform",
        ),
        ("tests/unit/test_a.py", "import pytest, kola.plugin, platforms.qemu"),
        ("trust/table.py", "from kola import results\nfrom kola.jobs.process import JobProcess\nimport trust.store"),
        ("trust/kolafault.py", "import pytest\nfrom kola.machine import Machine"),
    ],
)
def test_a_right_import_is_not(path: str, source: str) -> None:
    assert import_problems(path, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(1)",
        "import time as t\nt.sleep(1)",
        "from asyncio import sleep",
        "from time import sleep as z",
    ],
)
def test_sleeping_is_found(source: str) -> None:
    assert sleep_problems("x.py", source)


def test_what_only_sounds_like_sleeping_is_not() -> None:
    assert sleep_problems("x.py", "machine.run('sleep 5')\nsleep = 1\nsubprocess.run(['sleep'])") == []


@pytest.mark.parametrize(
    "source",
    [
        "N = 0\ndef f():\n    global N\n    N = 1",
        "SEEN = []\ndef f():\n    SEEN.append(1)",
        "SEEN: dict[str, int] = {}\ndef f():\n    SEEN['a'] = 1",
        "SEEN = collections.defaultdict(list)\ndef f():\n    del SEEN['a']",
        "SEEN = set()\nclass A:\n    def f(self):\n        SEEN.update({1})",
    ],
)
def test_state_in_a_module_is_found(source: str) -> None:
    assert len(state_problems("x.py", source)) == 1


def test_constants_are_no_state() -> None:
    source = "TABLE = {'a': 1}\ndef f():\n    found = [TABLE['a']]\n    found.append(1)\n    return TABLE.get('b')"
    assert state_problems("x.py", source) == []
