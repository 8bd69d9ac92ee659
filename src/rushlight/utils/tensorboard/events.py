"""Event files as TensorBoard reads them: records of protocol buffers, each with its checksum."""

from __future__ import annotations

import os
import socket
import struct
import time
import zlib
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Protocol buffers: a field is its number and kind, and a value: a varint (0), 8 bytes (1), a length and bytes (2), or
# 4 bytes (5).


def varint(value: int) -> bytes:
    """A whole number, seven bits in each byte."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(number: int, *parts: bytes) -> bytes:
    """A field that holds bytes, or another message."""
    content = b"".join(parts)
    return varint(number << 3 | 2) + varint(len(content)) + content


def text(number: int, value: str) -> bytes:
    """A field that holds a string."""
    return message(number, value.encode())


def integer(number: int, value: int) -> bytes:
    """A field that holds a whole number."""
    return varint(number << 3) + varint(int(value))


def double(number: int, value: float) -> bytes:
    """A field that holds a float64."""
    return varint(number << 3 | 1) + struct.pack("<d", value)


def single(number: int, value: float) -> bytes:
    """A field that holds a float32; numbers beyond its range are infinite."""
    with np.errstate(over="ignore"):
        return varint(number << 3 | 5) + np.float32(value).tobytes()


def doubles(number: int, values: Array) -> bytes:
    """A field that holds many float64."""
    return message(number, values.astype("<f8").tobytes())


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _table()


def masked_checksum(data: bytes) -> int:
    """The CRC-32C of `data`, rotated and shifted as in TFRecord files."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


class EventFile:
    """A new file of events in `folder`."""

    def __init__(self, folder: str, suffix: str = "", flush_secs: float = 120) -> None:
        os.makedirs(folder, exist_ok=True)
        number = next(_numbers)
        name = f"events.out.tfevents.{int(time.time()):010}.{socket.gethostname()}.{os.getpid()}.{number}{suffix}"
        self._file = open(os.path.join(folder, name), "ab")
        self._flush_secs = flush_secs
        self._flushed = time.monotonic()
        self._record(double(1, time.time()) + text(3, "brain.Event:2"))

    def write(self, summary: bytes, step: int | None, walltime: float | None) -> None:
        """An event with a summary: one or several values."""
        event = double(1, time.time() if walltime is None else walltime) + message(5, summary)
        self._record(event + (b"" if step is None else integer(2, step)))
        if time.monotonic() - self._flushed > self._flush_secs:
            self.flush()

    def _record(self, data: bytes) -> None:
        length = struct.pack("<Q", len(data))
        checks = [struct.pack("<I", masked_checksum(part)) for part in (length, data)]
        self._file.write(length + checks[0] + data + checks[1])

    def flush(self) -> None:
        """Writes what waits."""
        self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Writes what waits, and ends the file."""
        self._file.close()


_numbers = iter(range(2**62))


def png(pixels: Array) -> bytes:
    """Bytes (H, W, C) of 1, 3 or 4 channels as a PNG file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with 0: it isn't filtered
    rows[:, 1:] = pixels.reshape(height, -1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
