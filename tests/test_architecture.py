"""The code is what `docs/architecture.md` says it is: rooms, ladder, borders, sizes, words."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "skills_host"
LAZY = (
    "skills_host/__init__.py",
    "skills_host/cli/",
    # What only some settings, or some skills, ask for.
    "skills_host/app.py",
    "skills_host/auth/azure.py",
    "skills_host/configured.py",
    "skills_host/consumer/manifest/schemas.py",
    "skills_host/consumer/routing/patterns.py",
    "skills_host/consumer/routing/trained.py",
    "skills_host/store/address.py",
)
LAST = {"__init__.py": 0.25, "__main__.py": 0.5}
"""Files without a line of their own, and how far after the last room of their folder they are."""
FILE_LINES = 400
FUNCTION_LINES = 50
EMPTY_WORDS = re.compile(r"(Manager|Helper|Util|Utils|Impl|Factory)$|^Base[A-Z]")

_ROOM = re.compile(r"^(?P<indent> *)(?P<name>[\w.]+(?:\.py|/))(?P<rest>\s.*)?$")


@dataclass(frozen=True, slots=True)
class Room:
    """A line of the tree; the path is relative to the repository, a folder's ends in a slash."""

    path: str
    is_planned: bool


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name of a module, and whether a function does it."""

    name: str
    line: int
    is_lazy: bool


def file_name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]


def section(page: str, heading: str) -> list[str]:
    """The lines under a heading, up to the next heading of any level."""
    lines = page.splitlines()
    start = next(i for i, line in enumerate(lines) if re.fullmatch(rf"#+ {heading}", line))
    return list(takewhile(lambda line: not re.match(r"##+ ", line), lines[start + 1 :]))


def rooms_of(page: str) -> tuple[Room, ...]:
    """The rooms of the page's tree, in its order."""
    block = "\n".join(section(page, "The floors and the rooms")).split("```")[1]
    rooms: list[Room] = []
    folders: list[str] = []
    for match in filter(None, map(_ROOM.match, block.splitlines())):
        del folders[len(match["indent"]) // 2 :]
        path = "".join([*folders, match["name"]])
        rooms.append(Room(path, (match["rest"] or "").endswith("(planned)")))
        if path.endswith("/"):
            folders.append(match["name"])
    return tuple(rooms)


def homes_of(page: str) -> dict[str, tuple[str, ...]]:
    """Import name → the paths below the package that may import it; planned rows are left out."""
    homes = {}
    for line in section(page, "Libraries"):
        if not line.startswith("|") or "*(planned)*" in line:
            continue
        libraries, where = line.split("|")[1:3]
        for name in re.findall(r"`(\w+)`", libraries):
            homes[name] = tuple(re.findall(r"`([\w./]+)`", where))
    return homes


class Module:
    """A source file and what can be read from it without running it."""

    def __init__(self, root: Path, file: Path) -> None:
        self.path = file.relative_to(root).as_posix()
        self.text = file.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        parts = self.path.removesuffix(".py").split("/")
        self.is_package = parts[-1] == "__init__"
        self.name = ".".join(parts[:-1] if self.is_package else parts)
        self.package = self.name if self.is_package else ".".join(parts[:-1])

    @cached_property
    def definitions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
        """Every function and class, nested ones too."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]

    @cached_property
    def exported(self) -> list[str] | None:
        """The names in `__all__`; None without one."""
        assigned = [node for node in self.tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
        for node in assigned:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "__all__" and node.value:
                return list(ast.literal_eval(node.value))
        return None

    @cached_property
    def imports(self) -> list[Import]:
        """Everything that the module imports, wherever it does."""
        functions = [node for node in self.definitions if not isinstance(node, ast.ClassDef)]
        lazy = {id(inner) for function in functions for inner in ast.walk(function)}
        return [
            Import(name, node.lineno, id(node) in lazy)
            for node in ast.walk(self.tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in self._imported_by(node)
        ]

    def _imported_by(self, node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        origin = resolve_name("." * node.level + (node.module or ""), self.package)
        return [f"{origin}.{alias.name}" for alias in node.names]


class House:
    """A repository beside its architecture page; every check gives the complaints it has."""

    def __init__(self, root: Path, page: str) -> None:
        self.root = root
        self.rooms = rooms_of(page)
        self.homes = homes_of(page)
        files = [file for top in (PACKAGE, "skills") for file in sorted((root / top).rglob("*.py"))]
        self.modules = {module.name: module for module in (Module(root, file) for file in files)}

    def unlisted(self) -> list[str]:
        """Modules that the tree has no line for; an example skill needs only its folder's."""
        listed = {room.path for room in self.rooms}
        return [
            module.path
            for module in self.modules.values()
            if module.path.startswith(PACKAGE) and file_name(module.path) not in LAST
            if module.path not in listed
        ]

    def misplanned(self) -> list[str]:
        """Rooms that are marked planned and exist, or are not marked and do not exist."""
        return [
            f"{room.path} {'exists' if room.is_planned else 'does not exist'}"
            for room in self.rooms
            if (self.root / room.path).exists() == room.is_planned
        ]

    def climbing(self) -> list[str]:
        """Imports of something that stands lower in the tree than the module itself."""
        pairs = {
            (module.path, self.modules[target].path)
            for module in self.modules.values()
            for target in self._first_party(module)
        }
        return [
            f"{path} imports {imported}"
            for path, imported in sorted(pairs)
            if self._floor(imported) >= self._floor(path)
        ]

    def cycles(self) -> list[str]:
        """The first circle of imports, if there is one."""
        graph = {name: self._first_party(module) for name, module in self.modules.items()}
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as exc:
            return [" imports ".join(exc.args[1])]
        return []

    def lazy(self) -> list[str]:
        """Imports inside functions, outside the places that may have them."""
        return [
            f"{module.path}:{found.line} imports {found.name} in a function"
            for module in self.modules.values()
            for found in module.imports
            if found.is_lazy and not module.path.startswith(LAZY)
        ]

    def strayed(self) -> list[str]:
        """Imports of a third-party library outside its home."""
        return [
            f"{module.path}:{found.line} imports {library}"
            for module in self.modules.values()
            for found, library in self._third_party(module)
            if not self._is_home(library, module.path)
        ]

    def unused(self) -> list[str]:
        """Libraries of the table that nothing imports, or whose home is not in the tree."""
        used = {lib for module in self.modules.values() for _, lib in self._third_party(module)}
        paths = {room.path for room in self.rooms}
        homeless = [
            f"{library}: no room {home}"
            for library, homes in self.homes.items()
            for home in homes
            if f"{PACKAGE}/{home}" not in paths
        ]
        return homeless + [f"{library}: nothing imports it" for library in self.homes.keys() - used]

    def oversized(self) -> list[str]:
        """Files and functions in which a second idea has crept in."""
        return [complaint for module in self.modules.values() for complaint in _oversized(module)]

    def undocumented(self) -> list[str]:
        """Modules and exported names without a docstring, modules without `__all__`."""
        return [line for module in self.modules.values() for line in _undocumented(module)]

    def misnamed(self) -> list[str]:
        """Classes whose name says nothing."""
        return [
            f"{module.path} {node.name}"
            for module in self.modules.values()
            for node in module.definitions
            if isinstance(node, ast.ClassDef) and EMPTY_WORDS.search(node.name)
        ]

    def _first_party(self, module: Module) -> list[str]:
        # `a.b.c` may be a module, or a name in the module `a.b`.
        pairs = [(found.name, found.name.rpartition(".")[0]) for found in module.imports]
        known = [[name for name in pair if name in self.modules] for pair in pairs]
        return [names[0] for names in known if names]

    def _floor(self, path: str) -> float:
        name = file_name(path)
        folder = path.removesuffix(name) if name in LAST else path
        places = [i for i, room in enumerate(self.rooms) if room.path.startswith(folder)]
        if not places:  # an example skill, or unlisted
            places = [i for i, room in enumerate(self.rooms) if path.startswith(room.path)]
        return max(places, default=len(self.rooms)) + LAST.get(name, 0)

    def _third_party(self, module: Module) -> Iterator[tuple[Import, str]]:
        for found in module.imports:
            library = found.name.partition(".")[0]
            is_ours = library in (PACKAGE, "skills")
            if library in self.homes or not (is_ours or library in sys.stdlib_module_names):
                yield found, library

    def _is_home(self, library: str, path: str) -> bool:
        inside = path.removeprefix(f"{PACKAGE}/")
        homes = self.homes.get(library, ())
        return inside != path and any(
            inside.startswith(home) if home.endswith("/") else inside == home for home in homes
        )


def _oversized(module: Module) -> Iterator[str]:
    if (lines := module.text.count("\n")) > FILE_LINES:
        yield f"{module.path} has {lines} lines"
    for node in module.definitions:
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES and not isinstance(node, ast.ClassDef):
            yield f"{module.path}:{node.lineno} {node.name} has {lines} lines"


def _undocumented(module: Module) -> Iterator[str]:
    if not module.tree.body:
        return
    if not ast.get_docstring(module.tree):
        yield f"{module.path} has no docstring"
    # An example skill is a script, and a package that only has a docstring offers nothing.
    if module.path.startswith(PACKAGE) and module.exported is None and module.tree.body[1:]:
        yield f"{module.path} has no __all__"
    for node in module.definitions:
        if node.name in (module.exported or ()) and not ast.get_docstring(node):
            yield f"{module.path}:{node.lineno} {node.name} has no docstring"


CHECKS = (
    "unlisted",
    "misplanned",
    "climbing",
    "cycles",
    "lazy",
    "strayed",
    "unused",
    "oversized",
    "undocumented",
    "misnamed",
)


@pytest.fixture(scope="module")
def page() -> str:
    """The project's own architecture page."""
    return (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def house(page: str) -> House:
    """The project itself."""
    return House(ROOT, page)


@pytest.mark.parametrize("check", CHECKS)
def test_the_code_follows_the_page(house: House, check: str) -> None:
    """Every room, import and size is as the page says."""
    complaints = getattr(house, check)()

    assert not complaints, "\n".join(complaints)


def test_every_dependency_has_a_reason(page: str) -> None:
    """What the project installs has a line in the table of libraries."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[<>=;\[]", line)[0] for line in project["dependencies"]]
    table = "\n".join(section(page, "Libraries")).lower()

    assert [name for name in names if name not in table] == []


SMALL_PAGE = """
## The floors and the rooms

```
skills_host/
  # floor 0
  low.py     words
  high/      a folder
    one.py   first
    two.py   second
  later.py   not built (planned)
skills/      examples
```

### Libraries

| library | its only home | why |
|---|---|---|
| JSON (`json`) | `high/two.py` | for the test |
| Redis (`redis`) *(planned)* | `later.py` | not yet |
"""

SMALL_TREE = {
    "skills_host/__init__.py": '"""A."""\nfrom skills_host.low import f\n__all__ = ["f"]\n',
    "skills_host/low.py": '"""A."""\n__all__ = ["f"]\ndef f() -> None:\n    """Do."""\n',
    "skills_host/high/__init__.py": "",
    "skills_host/high/one.py": '"""A."""\nfrom skills_host import low\n__all__ = []\n',
    "skills_host/high/two.py": '"""A."""\nimport json\nfrom .one import low\n__all__ = []\n',
    "skills/echo.py": '"""An example."""\nfrom skills_host import f\n',
}


def small_house(folder: Path, changes: dict[str, str]) -> House:
    """A made-up repository, sound but for the changes."""
    for name, text in (SMALL_TREE | changes).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return House(folder, SMALL_PAGE)


@pytest.mark.parametrize("check", CHECKS)
def test_a_sound_house_has_no_complaints(tmp_path: Path, check: str) -> None:
    """The made-up repository is sound, so that each fault below is the only one."""
    assert getattr(small_house(tmp_path, {}), check)() == []


HEAD = '"""A."""\n__all__ = []\n'
LONG_FUNCTION = "def f():\n" + "        f()\n" * 50
FAULTS = [
    ("unlisted", "skills_host/new.py", HEAD),
    ("misplanned", "skills_host/later.py", HEAD),
    ("climbing", "skills_host/low.py", HEAD + "from skills_host.high.one import f\n"),
    ("climbing", "skills_host/low.py", HEAD + "from skills_host.high import one\n"),
    ("climbing", "skills_host/low.py", HEAD + "import skills.echo\n"),
    ("climbing", "skills_host/high/one.py", HEAD + "from . import two\n"),
    ("climbing", "skills_host/high/one.py", HEAD + "from skills_host import f\n"),
    ("climbing", "skills_host/high/one.py", HEAD + "from skills_host.high import f\n"),
    ("climbing", "skills_host/low.py", HEAD + "def f():\n    import skills_host.high.two\n"),
    ("climbing", "skills_host/low.py", HEAD + "if TYPE_CHECKING:\n    from .high.two import f\n"),
    ("cycles", "skills_host/low.py", HEAD + "from skills_host.high.one import f\n"),
    ("lazy", "skills_host/high/one.py", HEAD + "async def f():\n    import time\n"),
    ("strayed", "skills_host/high/one.py", HEAD + "import json.decoder\n"),
    ("strayed", "skills_host/low.py", HEAD + "def f():\n    from redis import x\n"),
    ("strayed", "skills/echo.py", HEAD + "import json\n"),
    ("unused", "skills_host/high/two.py", HEAD),
    ("oversized", "skills_host/low.py", HEAD + "\n" * 399),
    ("oversized", "skills_host/low.py", HEAD + LONG_FUNCTION),
    ("oversized", "skills/echo.py", HEAD + "class A:\n    async " + LONG_FUNCTION),
    ("undocumented", "skills_host/low.py", "__all__ = []\n"),
    ("undocumented", "skills_host/low.py", '"""A."""\nx = 1\n'),
    ("undocumented", "skills_host/low.py", '"""A."""\n__all__ = ["F"]\nclass F:\n    x = 1\n'),
    ("misnamed", "skills_host/low.py", HEAD + "class TurnManager:\n    x = 1\n"),
    ("misnamed", "skills_host/low.py", HEAD + "class BaseTurn:\n    x = 1\n"),
]


@pytest.mark.parametrize(("check", "path", "text"), FAULTS)
def test_a_fault_is_seen(tmp_path: Path, check: str, path: str, text: str) -> None:
    """Each check finds the one fault that was put into the made-up repository."""
    house = small_house(tmp_path, {path: text})

    assert len(getattr(house, check)()) == 1


def test_a_room_without_a_file_is_seen(tmp_path: Path) -> None:
    """A line that is not marked planned promises a file."""
    house = small_house(tmp_path, {})
    (tmp_path / "skills_host/low.py").unlink()

    assert house.misplanned() == ["skills_host/low.py does not exist"]
