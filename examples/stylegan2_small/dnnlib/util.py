"""Attribute dictionaries, opening files by path or URL, construction by name, option types."""

from __future__ import annotations

import importlib
import os
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

import click


class UserError(click.ClickException):
    """Something that the user can mend; click shows it as one line and exits with status 1."""


class EasyDict(dict[str, Any]):
    """A dictionary whose items are attributes too; pickles as a dictionary."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]


def make_cache_dir_path(*parts: str) -> str:
    """Path below the cache folder: `$DNNLIB_CACHE_DIR`, or `~/.cache/dnnlib`."""
    root = os.environ.get("DNNLIB_CACHE_DIR") or str(Path.home() / ".cache" / "dnnlib")
    return os.path.join(root, *parts)


def is_url(obj: Any, allow_file_urls: bool = False) -> bool:
    """True for `http(s)://host.name/...`, and for `file://` where those are allowed."""
    if not isinstance(obj, str):
        return False
    url = urllib.parse.urlparse(obj)
    if url.scheme == "file":
        return allow_file_urls
    return url.scheme in ("http", "https") and "." in url.netloc


def open_url(url: str | os.PathLike[str], verbose: bool = True) -> BinaryIO:
    """Open a local path or a `file://` URL for reading bytes.

    Nothing is ever downloaded here. Raises `UserError` for other URLs and for unreadable files."""
    name = os.fspath(url)
    if is_url(name):
        raise UserError(f"{name}: this example opens local files and file:// URLs only")
    path = name
    if is_url(name, allow_file_urls=True):
        path = urllib.request.url2pathname(urllib.parse.urlparse(name).path)
    if verbose:
        print(f"Opening {path} ...")
    try:
        return open(path, "rb")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def get_obj_by_name(name: str) -> Any:
    """The object `package.module.object`, its module imported if need be."""
    module_name, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module_name), attribute)


def construct_class_by_name(*args: Any, class_name: str, **kwargs: Any) -> Any:
    """Instantiate the class of that dotted name."""
    return get_obj_by_name(class_name)(*args, **kwargs)


def format_time(seconds: float) -> str:
    """`75.2` as `1m 15s`."""
    minutes, secs = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m {secs:02d}s"
    return f"{minutes}m {secs:02d}s" if minutes else f"{secs}s"


class NumberRange(click.ParamType):
    """Click type of a list of non-negative numbers: `3`, `1,5,9`, `0-7` or a mix, `1,4-6`."""

    name = "list"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[int]:
        if isinstance(value, list):
            return value
        numbers: list[int] = []
        for part in str(value).split(","):
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
            if match is None:
                self.fail(f"{part!r} is neither a number nor a range such as 0-7", param, ctx)
            first, last = match.groups(default=match[1])
            numbers.extend(range(int(first), int(last) + 1))
        return numbers
