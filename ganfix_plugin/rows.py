"""Rows that come a few at a time: in memory, or in a file where memory is not to grow with them."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from torch import Tensor

from ganfix_plugin.errors import GanfixError
from ganfix_plugin.files import cache_folder, ready


class Rows:
    """Rows in one tensor that grows: many small ones, kept between the large ones of passes, would
    leave holes in memory that nothing fits into again."""

    def __init__(self) -> None:
        self._room, self._used = torch.zeros(0), 0

    def add(self, rows: Tensor) -> None:
        """Rows [k, …], on any device."""
        if not self._used:
            self._room = rows.new_empty(0, *rows.shape[1:], device="cpu")
        end = self._used + len(rows)
        if end > len(self._room):
            more = self._room.new_empty(max(end, 2 * len(self._room)), *rows.shape[1:])
            more[: self._used] = self.whole()
            self._room = more
        self._room[self._used : end] = rows
        self._used = end

    def whole(self) -> Tensor:
        """All of them [n, …], on the CPU."""
        return self._room[: self._used]


class RowFile:
    """Rows in a file in the cache folder that has no name and is gone when this is.

    Raises:
        GanfixError: if there is no room for it.
    """

    def __init__(self) -> None:
        self._folder = ready(cache_folder(), folder=True)
        self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._like = np.empty(0)

    def add(self, rows: Tensor) -> None:
        """Rows [k, …], on any device."""
        self._like = rows.detach().cpu().numpy()
        try:
            self._file.write(np.ascontiguousarray(self._like).data)
            self._file.flush()
        except OSError as error:
            reason = error.strerror or error
            raise GanfixError(f"{self._folder}: cannot be written: {reason}") from None

    def whole(self) -> Tensor:
        """All of them [n, …]: pages of the file, which take memory while there is some to spare."""
        shape = (-1, *self._like.shape[1:])
        # Writable, as tensors are, without writing to the file.
        return torch.from_numpy(np.memmap(self._file, self._like.dtype, "c").reshape(shape))

    def __getitem__(self, places: Tensor) -> Tensor:
        """Those at some places [k], in memory."""
        return self.whole()[places]
