"""What a file of ``torch.save`` would do, found out before any of it is done.

torch reads such files with ``weights_only`` and runs no code of strangers. But what it does run can be asked for more
memory than there is: a kilobyte can ask for thirty gigabytes of zeros, or name storages that the file does not hold.
So the pickle in it is gone through first, instruction by instruction, without making any of its objects.
"""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["check_pickle"]

_LARGEST_PICKLE = 64_000_000  # bytes without the tensors; that of a network with a thousand layers has half a million
_ZIP = b"PK\x03\x04"

# What checkpoints call to build themselves; all of it makes about as much as it is given.
_CALLED = frozenset(
    {
        "collections OrderedDict",
        "torch Size",
        "torch device",
        "torch._tensor _rebuild_from_type_v2",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_parameter_with_state",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
        "torch.serialization _get_layout",
        "numpy dtype",
        "numpy.core.multiarray scalar",
        "numpy._core.multiarray scalar",
    }
)
_ENCODE = "_codecs encode"  # how bytes are written; some codecs double what they are given


@dataclass(frozen=True)
class _Constant:
    value: Any


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Tuple:
    items: tuple[object, ...]


class _RefusedError(ValueError):
    """The message says what the file does that none of ``torch.save`` does."""


_MARK, _OTHER = object(), object()


def check_pickle(path: Path) -> None:
    """Refuse a file that asks for more than it holds.

    Args:
        path: of a file that is no safetensors file.

    Raises:
        pickle.UnpicklingError: if it would call something that no checkpoint calls; its message names that as torch
            does, ``GLOBAL module.name``.
        ValueError: if it is compressed, or asks for more than it holds.
        EOFError: if it is none of ``torch.save``.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) == _ZIP:
            _go_through(BytesIO(_pickle_of_archive(path, size)), size)
            return
        file.seek(0)
        start = BytesIO(file.read(_LARGEST_PICKLE))
    try:
        for _ in range(5):  # before 2020: magic number, protocol, system, content, names of the storages that follow
            _go_through(start, size)
    except _RefusedError:
        raise
    except ValueError as error:
        raise EOFError("no pickle, or not all of one") from error


def _pickle_of_archive(path: Path, size: int) -> bytes:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise _RefusedError("compressed, which torch.save does not write")
        if sum(entry.file_size for entry in entries) > size:
            raise _RefusedError("its parts say that they are larger than the whole")
        found = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(found) != 1 or found[0].file_size > _LARGEST_PICKLE:
            raise _RefusedError("an archive without the one data.pkl of torch.save")
        return archive.read(found[0])


def _go_through(file: BytesIO, size: int) -> None:
    """One pickle, to its end. What its stack would hold is followed only as far as calls and storages need it."""
    stack: list[object] = []
    memo: dict[Any, object] = {}

    def since_mark() -> list[object]:
        items = []
        while (item := stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in ("PROTO", "STOP"):
            continue
        if name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            stack.append(_Global(str(argument)))
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "TUPLE":
            stack.append(_Tuple(tuple(since_mark())))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [_Tuple(tuple(stack[-count:]))]
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, called = stack.pop(), stack.pop()
            _check_call(called, arguments)
            stack.append(_OTHER)
        elif name == "BINPERSID":
            _check_storage(stack.pop(), size)
            stack.append(_OTHER)
        elif name == "SETITEM":
            _, key = stack.pop(), stack.pop()
            _check_keys([key])
        elif name == "SETITEMS":
            _check_keys(since_mark()[::2])
        elif name == "APPENDS":
            since_mark()
        elif name in ("APPEND", "BUILD", "POP"):
            stack.pop()
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append(_OTHER)
        elif name == "EMPTY_TUPLE":
            stack.append(_Tuple(()))
        elif name in _CONSTANTS:
            stack.append(_Constant(argument))
        else:
            raise _RefusedError(f"the instruction {name}, which torch.save does not write")


_CONSTANTS = frozenset(
    {
        *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINSTRING", "BINSTRING"),
    }
)


def _check_call(called: object, arguments: object) -> None:
    if not isinstance(called, _Global):
        raise _RefusedError("a call of something that is no function")
    if called.name in _CALLED:
        return
    if called.name == _ENCODE and isinstance(arguments, _Tuple):
        codec = arguments.items[-1]
        if len(arguments.items) == 2 and isinstance(codec, _Constant) and codec.value == "latin1":
            return
    _refuse(called.name)


def _check_storage(identity: object, size: int) -> None:
    """``("storage", type, name, place, number of values)``, and a view of it in old files."""
    items = identity.items if isinstance(identity, _Tuple) else ()
    values = items[4] if len(items) >= 5 else None
    if not isinstance(values, _Constant) or not isinstance(values.value, int) or not 0 <= values.value <= size:
        raise _RefusedError("a tensor of more values than the file has bytes")


def _check_keys(keys: list[object]) -> None:
    """Names or numbers: nested tuples as keys can take for ever to compare."""
    if not all(isinstance(key, _Constant) for key in keys):
        raise _RefusedError("a key that is neither name nor number")


def _refuse(name: str) -> NoReturn:
    raise pickle.UnpicklingError(f"GLOBAL {name.replace(' ', '.')} is called")
