"""Acting on modules as they are imported, and standing in for missing ones."""

from __future__ import annotations

import importlib
import inspect
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from ganfix_plugin.hosts.import_hooks import installed, replaced, stand_in, when_imported


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a module ``inner``, not yet imported."""
    folder = tmp_path / "some_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .inner import value\n")
    (folder / "inner.py").write_text("def value():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("some_package", "some_package.inner"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "some_package"


def test_a_function_is_replaced_before_anyone_can_import_it(package: str) -> None:
    def act(module: ModuleType) -> None:
        module.value = lambda: 2  # type: ignore[attr-defined]

    with when_imported(f"{package}.inner", act):
        assert importlib.import_module(package).value() == 2


def test_several_may_watch_one_module(package: str) -> None:
    seen: list[str] = []
    names = (f"{package}.inner", package, package)
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(when_imported(name, lambda module: seen.append(module.__name__)))
        importlib.import_module(package)
    assert sorted(seen) == sorted(names)


def test_a_module_that_is_imported_already_is_acted_on_at_once(package: str) -> None:
    module = importlib.import_module(package)
    seen: list[ModuleType] = []
    with when_imported(package, seen.append):
        assert seen == [module]


def test_an_error_in_the_act_fails_the_import(package: str) -> None:
    def act(module: ModuleType) -> None:
        raise RuntimeError("no such function")

    with when_imported(package, act), pytest.raises(RuntimeError, match="no such function"):
        importlib.import_module(package)
    assert package not in sys.modules


def test_a_watched_module_keeps_its_source_and_is_watched_no_more_afterwards(package: str) -> None:
    seen: list[ModuleType] = []
    with when_imported(f"{package}.inner", seen.append), when_imported(package, seen.append):
        module = importlib.import_module(f"{package}.inner")
    assert "return 1" in inspect.getsource(module)
    importlib.reload(module)
    assert len(seen) == 2


def test_watching_ends(package: str) -> None:
    finders = list(sys.meta_path)
    seen: list[ModuleType] = []
    with when_imported(package, seen.append):
        pass
    importlib.import_module(package)
    assert not seen and sys.meta_path == finders


def test_a_stand_in_can_be_imported_without_its_parents() -> None:
    with stand_in("no_such_package.models.utils", load=len):
        module = importlib.import_module("no_such_package.models.utils")
        assert module.load is len
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_package.models.utils")


def test_replacing_is_undone_also_where_there_was_nothing() -> None:
    owner = SimpleNamespace(old=1)
    with replaced(owner, "old", 2), replaced(owner, "new", 3):
        assert vars(owner) == {"old": 2, "new": 3}
    assert vars(owner) == {"old": 1}


def test_whether_a_module_is_installed_is_found_without_importing_it(package: str) -> None:
    assert installed(f"{package}.inner")
    assert not installed(f"{package}.outer")
    assert not installed("no_such_package.models.utils")
    assert package not in sys.modules
