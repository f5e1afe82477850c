"""Pickles that carry the source code of their classes.

An instance of a class under `@persistent_class` is pickled as the source of the module that defines
it, the class's name and its state. Loading executes that source in a module made on the spot, named
`_imported_module_<hex>`, so a pickle keeps working when the code has changed or gone. Modules that
the source imports are *not* carried. `copy.deepcopy` takes the same road. The layout of the record
is that of NVIDIA's format 6, so pickles made here open in their checkouts too.
"""

from __future__ import annotations

import copy
import inspect
import sys
import types
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from dnnlib import EasyDict

FORMAT = 6
T = TypeVar("T")

_persistent_classes: set[type] = set()
_record_hooks: list[Callable[[EasyDict], EasyDict]] = []
_source_of: dict[str, str] = {}  # module name -> source
_module_of: dict[str, types.ModuleType] = {}  # source -> module


def persistent_class(cls: type[T]) -> type[T]:
    """Class decorator: instances pickle together with the source of the class's module.

    Instances also remember how they were built, in `init_args` and `init_kwargs` (copies). Every
    other class of the module that ends up in an instance's state has to be decorated as well."""
    if is_persistent(cls):
        return cls
    source = _module_source(sys.modules[cls.__module__])
    class_name = cls.__name__

    class Persistent(cls):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._init_args, self._init_kwargs = copy.deepcopy((args, kwargs))

        @property
        def init_args(self) -> tuple[Any, ...]:
            return copy.deepcopy(self._init_args)

        @property
        def init_kwargs(self) -> EasyDict:
            return EasyDict(copy.deepcopy(self._init_kwargs))

        def __reduce__(self) -> tuple[Any, ...]:
            has_getstate = hasattr(self, "__getstate__")
            record = {
                "type": "class",
                "version": FORMAT,
                "module_src": source,
                "class_name": class_name,
                "state": self.__getstate__() if has_getstate else self.__dict__,
            }
            return _reconstruct_persistent_obj, (record,)

    Persistent.__name__ = class_name
    Persistent.__qualname__ = cls.__qualname__
    Persistent.__doc__ = cls.__doc__
    _persistent_classes.add(Persistent)
    return Persistent


def is_persistent(obj: Any) -> bool:
    """Is this class, or the class of this object, a persistent one?"""
    return (obj if isinstance(obj, type) else type(obj)) in _persistent_classes


def import_hook(hook: Callable[[EasyDict], EasyDict]) -> None:
    """Have `hook(record) -> record` called on every load and every deepcopy from now on.

    The record has `type`, `version`, `module_src`, `class_name` and `state`, all open to change."""
    _record_hooks.append(hook)


def _reconstruct_persistent_obj(record: dict[str, Any]) -> Any:
    """What the pickle calls: the object of a record. The name is part of the format."""
    meta = EasyDict(record, state=EasyDict(record["state"]))
    for change in _record_hooks:
        meta = change(meta)
    if meta.type != "class" or meta.version != FORMAT:
        raise ValueError(
            f"persistent {meta.type} of format {meta.version}: this code reads classes of format "
            f"{FORMAT}; load the pickle with the code that wrote it"
        )
    cls: Any = persistent_class(getattr(_module_from_source(meta.module_src), meta.class_name))
    obj = cls.__new__(cls)
    if hasattr(obj, "__setstate__"):
        obj.__setstate__(meta.state)
    else:
        vars(obj).update(meta.state)
    return obj


def _module_source(module: types.ModuleType) -> str:
    if module.__name__ not in _source_of:
        source = inspect.getsource(module)
        _source_of[module.__name__] = source
        _module_of[source] = module
    return _source_of[module.__name__]


def _module_from_source(source: str) -> types.ModuleType:
    """The module of that source: one already imported if there is any, else a generated one."""
    if source not in _module_of:
        module = types.ModuleType(f"_imported_module_{uuid.uuid4().hex}")
        # Entered before it runs, since its own decorators look their module up by name.
        sys.modules[module.__name__] = _module_of[source] = module
        _source_of[module.__name__] = source
        try:
            exec(source, module.__dict__)
        except BaseException:
            del sys.modules[module.__name__], _module_of[source], _source_of[module.__name__]
            raise
    return _module_of[source]
