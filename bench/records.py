"""Records: a byte stream cut into runs of records with the same length.

Owns: where MQTT packets and WebSocket frames begin and end. Never: sockets, what a record means.

A run is (start, size, count): `count` records of `size` bytes with equal headers. So the headers
are compared by columns instead of one by one.
"""

from collections.abc import Callable

Run = tuple[int, int, int]


def mqtt_header(data: bytes, at: int) -> tuple[int, int]:
    """Return (header length, packet length) of the packet at `at`; (0, 0) if incomplete."""
    if len(data) - at < 2:
        return 0, 0
    if data[at + 1] > 127:
        raise ValueError("the benchmark uses packets of less than 128 bytes")
    return 2, 2 + data[at + 1]


def websocket_header(data: bytes, at: int) -> tuple[int, int]:
    """Return (header length, frame length) of the unmasked frame at `at`; (0, 0) if incomplete."""
    available = len(data) - at
    if available < 2:
        return 0, 0
    length = data[at + 1]
    if length < 126:
        return 2, 2 + length
    header = 4 if length == 126 else 10
    if available < header:
        return 0, 0
    return header, header + int.from_bytes(data[at + 2 : at + header], "big")


def cut(data: bytes, header_of: Callable[[bytes, int], tuple[int, int]]) -> tuple[list[Run], int]:
    """Return the complete records in `data` as runs, and the number of bytes that they take."""
    runs: list[Run] = []
    at = 0
    while True:
        header, size = header_of(data, at)
        if not size or at + size > len(data):
            return runs, at
        count = 1
        following = at + size
        if data[following : following + header] == data[at : at + header]:
            count = (len(data) - at) // size
            count = _alike(data, at, header, size, count)
        runs.append((at, size, count))
        at += size * count


def _alike(data: bytes, at: int, header: int, size: int, count: int) -> int:
    """Return how many of the `count` records from `at` on have the first record's header.

    The columns are valid by induction: if the records 0 to i have that header, and so that length,
    record i + 1 begins where it is looked for.
    """
    for column in range(at, at + header):
        values = data[column : column + (count - 1) * size + 1 : size]
        if values.count(values[0]) != count:
            count -= len(values.lstrip(values[:1]))
            if count == 1:
                break
    return count
