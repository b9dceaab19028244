"""Writes ONNX files by hand, so that no package for that is needed.

The wire format is protobuf's; the numbers of the fields are those of onnx.proto (ONNX, Apache-2.0).
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

FLOAT, INTS, INT, FLOATS = 1, 7, 2, 6


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def tensor(name: str, values: np.ndarray) -> bytes:
    """TensorProto, float32 or int64."""
    kind = 7 if values.dtype == np.int64 else FLOAT
    dims = b"".join(_number(1, side) for side in values.shape)
    return dims + _number(2, kind) + _bytes(8, name) + _bytes(9, np.ascontiguousarray(values).tobytes())


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: list[int] | int | float) -> bytes:
    parts = [_bytes(1, name) for name in inputs] + [_bytes(2, name) for name in outputs] + [_bytes(4, kind)]
    return b"".join(parts + [_bytes(5, _attribute(name, value)) for name, value in attributes.items()])


def _attribute(name: str, value: list[int] | int | float) -> bytes:
    if isinstance(value, list):
        return _bytes(1, name) + b"".join(_number(8, item) for item in value) + _number(20, INTS)
    if isinstance(value, float):
        return _bytes(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    return _bytes(1, name) + _number(3, value) + _number(20, INT)


def _value(name: str, shape: list[int | str]) -> bytes:
    dims = b"".join(_bytes(1, _bytes(2, side) if isinstance(side, str) else _number(1, side)) for side in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, FLOAT) + _bytes(2, dims)))


def write(
    path: Path, nodes: list[bytes], weights: dict[str, np.ndarray], inputs: dict[str, list], outputs: dict[str, list]
) -> Path:
    """A model of opset 13."""
    graph = b"".join(_bytes(1, each) for each in nodes) + _bytes(2, "graph")
    graph += b"".join(_bytes(5, tensor(name, values)) for name, values in weights.items())
    graph += b"".join(_bytes(11, _value(name, shape)) for name, shape in inputs.items())
    graph += b"".join(_bytes(12, _value(name, shape)) for name, shape in outputs.items())
    path.write_bytes(_number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, "") + _number(2, 13)))
    return path
