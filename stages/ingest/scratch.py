"""Long lists, texts and arrays that lie in temporary files of the local cache, not in memory.

Their pages belong to the system's cache of files, which takes back what it needs; the files have no
name, so they end with the process, however that ends.
"""

import heapq
import itertools
import pickle
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, Generic, TypeVar, overload

import numpy as np

from stages.common.files import naming_full_disk
from stages.common.machine import cache_folder

T = TypeVar("T")

# Items that are written and read at once.
_BLOCK = 256
# Items that are sorted at once.
_RUN = 65_536
# An array of fewer bytes is not worth a file.
_SMALL = 2**20


def scratch_array(shape: int | tuple[int, ...], dtype: np.typing.DTypeLike) -> np.ndarray:
    """An array of zeros; a large one lies in a temporary file.

    Raises:
        InputError: The disk of the cache is full.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    if size < _SMALL:
        return np.zeros(shape, dtype)
    with naming_full_disk(cache_folder()), _temporary_file() as file:
        return np.asarray(np.memmap(file, dtype, "w+", shape=shape))


class ScratchList(Sequence[T], Generic[T]):
    """A list that is only added to; its items lie in a temporary file, but for the last ones.

    Args:
        items: What it begins with; anything that can be pickled.
    """

    def __init__(self, items: Iterable[T] = ()):
        self._starts = array("q", [0])
        self._last: list[T] = []
        self._file: IO[bytes] | None = None
        self._kept: tuple[int, list[T]] = (-1, [])
        self.extend(items)

    def append(self, item: T) -> None:
        self._last.append(item)
        if len(self._last) == _BLOCK:
            self._write_last()

    def extend(self, items: Iterable[T]) -> None:
        for item in items:
            self.append(item)

    def __add__(self, other: "ScratchList[T]") -> "ScratchList[T]":
        if not self or not other:
            return self or other
        both = ScratchList(self)
        both.extend(other)
        return both

    def sorted(self, key: Callable[[T], Any]) -> "ScratchList[T]":
        """The same items in order; itself, if they are in order already."""
        if all(one <= other for one, other in itertools.pairwise(map(key, self))):
            return self
        runs, remaining = [], iter(self)
        while run := sorted(itertools.islice(remaining, _RUN), key=key):
            runs.append(ScratchList(run))
        return ScratchList(heapq.merge(*runs, key=key))

    def __len__(self) -> int:
        return (len(self._starts) - 1) * _BLOCK + len(self._last)

    def __iter__(self) -> Iterator[T]:
        for number in range(len(self._starts) - 1):
            yield from self._read(number)
        yield from self._last

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place):
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        number, row = divmod(range(len(self))[place], _BLOCK)
        if number == len(self._starts) - 1:
            return self._last[row]
        if self._kept[0] != number:
            self._kept = number, self._read(number)
        return self._kept[1][row]

    def _write_last(self) -> None:
        with naming_full_disk(cache_folder()):
            if self._file is None:
                self._file = _temporary_file()
            self._file.seek(self._starts[-1])
            self._starts.append(self._starts[-1] + self._file.write(pickle.dumps(self._last)))
        self._last = []

    def _read(self, number: int) -> list[T]:
        assert self._file is not None
        start, end = self._starts[number : number + 2]
        self._file.seek(start)
        return pickle.loads(self._file.read(end - start))


class Part(Sequence[T], Generic[T]):
    """Items of a list from one place to another, that are read when they are needed.

    What is sent to another process are the items themselves.
    """

    def __init__(self, items: Sequence[T], place: slice):
        self._items = items
        self._places = range(*place.indices(len(items)))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place):
        return self._items[self._places[place]]

    def __reduce__(self) -> tuple:
        return list, (list(self),)


class ScratchTexts:
    """Texts by number; they lie in a temporary file.

    Args:
        texts: All of them, in their order.
        count: How many there are.
    """

    def __init__(self, texts: Iterable[str], count: int):
        self._ends = scratch_array(count, np.int64)
        with naming_full_disk(cache_folder()), _temporary_file() as file:
            end = 0
            for number, text in enumerate(texts):
                end += file.write(text.encode())
                self._ends[number] = end
            file.flush()
            self._bytes = np.asarray(np.memmap(file, np.uint8, "r", shape=end)) if end else b""

    def take(self, numbers: Iterable[int]) -> list[str]:
        """Some of the texts."""
        return [self._text(int(number)) for number in numbers]

    def _text(self, number: int) -> str:
        start = self._ends[number - 1] if number else 0
        return bytes(self._bytes[start : self._ends[number]]).decode()


def _temporary_file() -> IO[bytes]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=cache_folder())
