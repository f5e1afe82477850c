"""Images by seed, from one thread that owns the generator, a little ahead of who looks at them."""

from __future__ import annotations

import heapq
import io
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PIL import Image
from torch import Tensor

from ganfix_plugin.features.render import render
from ganfix_plugin.generators.generator import Generator
from ganfix_plugin.generators.latents import seed_batches
from ganfix_plugin.pictures.sheet import pictured

CACHE_BYTES = 128 * 2**20
SMALL = 256  # side of an image in a grid; smaller images are shown as they are
_NOW, _SOON, _IDLE = range(3)
T = TypeVar("T")
P = TypeVar("P", bound=Hashable)


@dataclass(frozen=True)
class Picture:
    """What can be looked at: the image of a seed, as it is or corrected, whole or for a grid."""

    seed: int
    corrected: bool = False
    small: bool = False


class Renderer(Generic[P]):
    """Renders what is asked for at once, then what will be asked for soon, then what can wait.

    `run` must be called by the thread that opened the generator: what its host needs mended may be
    mended in that thread only, so it alone calls ``draw``, which makes a PNG of a picture. All
    other methods are for other threads. Encoded images are kept up to ``limit`` bytes, the least
    recently used ones are dropped.
    """

    def __init__(self, draw: Callable[[P], bytes], limit: int = CACHE_BYTES):
        self._draw, self._limit = draw, limit
        self._jobs: list[tuple[int, int, Callable[[], Any], Future[Any]]] = []
        self._numbers = itertools.count()
        self._pending: dict[P, Future[bytes]] = {}
        self._cache: OrderedDict[P, bytes] = OrderedDict()
        self._bytes = 0
        self._changed = threading.Condition()

    def run(self, forever: bool = True) -> None:
        """Render for ever, or until all is rendered that was asked for."""
        while True:
            with self._changed:
                # In steps, so that Ctrl-C is noticed on every system.
                while forever and not self._jobs:
                    self._changed.wait(0.5)
                if not self._jobs:
                    return
                _, _, work, future = heapq.heappop(self._jobs)
            if future.done():  # it was wanted twice
                continue
            try:
                future.set_result(work())
            except Exception as error:  # whoever asked for the image hears of it
                future.set_exception(error)

    def png(self, picture: P) -> bytes:
        """An image as PNG, from the cache or as soon as it is rendered."""
        with self._changed:
            if picture in self._cache:
                self._cache.move_to_end(picture)
                return self._cache[picture]
            future = self._ask(picture, _NOW)
        return future.result()

    def prefetch(self, pictures: Iterable[P]) -> None:
        """Render these soon, unless they are there."""
        with self._changed:
            for picture in pictures:
                if picture not in self._cache and picture not in self._pending:
                    self._ask(picture, _SOON)

    def now(self, work: Callable[[], T]) -> T:
        """The result of work by the generator that somebody waits for."""
        result: T = self._put(_NOW, work, Future()).result()
        return result

    def idle(self, work: Callable[[], T]) -> T:
        """The result of work by the generator, done when nobody waits for an image."""
        result: T = self._put(_IDLE, work, Future()).result()
        return result

    def _ask(self, picture: P, priority: int) -> Future[bytes]:
        """Render a picture once, however many ask; a more urgent wish overtakes an earlier one."""
        future = self._pending.setdefault(picture, Future())
        return self._put(priority, lambda: self._keep(picture), future)

    def _put(self, priority: int, work: Callable[[], Any], future: Future[Any]) -> Future[Any]:
        with self._changed:
            heapq.heappush(self._jobs, (priority, next(self._numbers), work, future))
            self._changed.notify_all()
        return future

    def _keep(self, picture: P) -> bytes:
        try:
            content = self._draw(picture)
            with self._changed:
                self._cache[picture] = content
                self._bytes += len(content)
                while self._bytes > self._limit and len(self._cache) > 1:
                    self._bytes -= len(self._cache.popitem(last=False)[1])
            return content
        finally:
            with self._changed:
                del self._pending[picture]


def drawing(generator: Generator) -> Callable[[Picture], bytes]:
    """What draws pictures by a generator, which carries the correction, if there is one;
    uncorrected images leave it out."""

    def draw(picture: Picture) -> bytes:
        # One by one: the pixels are those of the host's script, which renders one by one too.
        ((z, c),) = seed_batches(generator, [picture.seed], 1)
        return encoded(render(generator, z, c, picture.corrected), picture.small)

    return draw


def encoded(images: Tensor, small: bool = False) -> bytes:
    """The first of some images [N, 1 or 3, H, W] in [-1, 1] as PNG, rounded as the hosts do."""
    picture = pictured(images[:1].float())[0]
    if small:
        picture.thumbnail((SMALL, SMALL), Image.Resampling.LANCZOS)
    return as_png(picture)


def as_png(picture: Image.Image) -> bytes:
    """A picture as PNG, quickly."""
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()
