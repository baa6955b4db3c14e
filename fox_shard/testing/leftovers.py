"""What a process keeps of another one that is gone.

Owns: the search for a name in all that a core holds in memory. Never: what should be kept.
"""

import gc
from collections import deque
from collections.abc import Iterable
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType
from typing import Final

ELSEWHERE: Final = (ModuleType, type, FrameType, BuiltinFunctionType)
"""What belongs to the program, not to a core."""


def mentions(core: object, name: str, outside: Iterable[object] = ()) -> list[str]:
    """Return where texts that contain that name are, each as a chain of the types on the way.

    outside: objects that do not belong to the core though it refers to them.
    """
    found: list[str] = []
    seen = {id(one) for one in outside}
    way: dict[int, tuple[int, str]] = {id(core): (0, type(core).__name__)}
    waiting: deque[object] = deque([core])
    while waiting:
        holder = waiting.popleft()
        for one in _referents(holder):
            if id(one) in way or id(one) in seen or isinstance(one, ELSEWHERE):
                continue
            way[id(one)] = (id(holder), type(one).__name__)
            if isinstance(one, str | bytes):
                if name in (one if isinstance(one, str) else one.decode("latin1")):
                    found.append(_chain(way, id(one), one))
            else:
                waiting.append(one)
    return found


def _referents(holder: object) -> list[object]:
    if isinstance(holder, FunctionType):  # not its globals
        return [*(holder.__closure__ or ()), *(holder.__defaults__ or ())]
    if isinstance(holder, MethodType):
        return [holder.__self__]
    return gc.get_referents(holder)


def _chain(way: dict[int, tuple[int, str]], place: int, text: str | bytes) -> str:
    types = []
    while place:
        place, kind = way[place]
        types.append(kind)
    return " > ".join(reversed(types)) + f" {text!r}"
