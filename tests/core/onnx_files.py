"""Small real ONNX files in the places of a face recogniser and a face finder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tools.train.onnx_writer import node, write


def recogniser(path: Path, dimensions: int = 128, scale: float = 1.0) -> Path:
    """Takes [1,3,112,112]: averages of 8x8 pixels, less their mean, times a random matrix."""
    rng = np.random.default_rng(5)
    weight = (rng.standard_normal((3 * 14 * 14, dimensions)) * scale).astype(np.float32)
    nodes = [
        node("AveragePool", ["face"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        node("Flatten", ["small"], ["row"], axis=1),
        node("ReduceMean", ["row"], ["mean"], axes=[1], keepdims=1),
        node("Sub", ["row", "mean"], ["centred"]),
        node("MatMul", ["centred", "weight"], ["vector"]),
    ]
    return write(path, nodes, {"weight": weight}, {"face": [1, 3, 112, 112]}, {"vector": [1, dimensions]})


def finder(path: Path) -> Path:
    """What OpenCV takes for YuNet: each 32x32 cell that is purely red is a face of 64x64 about its middle."""
    nodes, weights, outputs = [], {}, {}
    heads = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    for stride in (8, 16, 32):
        nodes.append(
            node("AveragePool", ["input"], [f"pool_{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2)
        )
        for head, channels in heads.items():
            name = f"{head}_{stride}"
            kernel, bias = _finder_weights(head, channels, stride)
            weights |= {f"{name}_w": kernel, f"{name}_b": bias, f"{name}_shape": np.array([1, channels, -1], np.int64)}
            nodes += [
                node("Conv", [f"pool_{stride}", f"{name}_w", f"{name}_b"], [f"{name}_map"], kernel_shape=[1, 1]),
                node("Reshape", [f"{name}_map", f"{name}_shape"], [f"{name}_row"]),
                node("Transpose", [f"{name}_row"], [name], perm=[0, 2, 1]),
            ]
            outputs[name] = [1, f"cells_{stride}", channels]
    return write(path, nodes, weights, {"input": [1, 3, "height", "width"]}, outputs)


def _finder_weights(head: str, channels: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = np.zeros((channels, 3, 1, 1), np.float32), np.zeros(channels, np.float32)
    if head in ("cls", "obj") and stride == 32:
        kernel[0, :, 0, 0] = np.array([-1, -1, 1]) / 255  # OpenCV's pictures are BGR
    if head == "bbox":
        bias[:] = 0.5, 0.5, np.log(2), np.log(2)
    if head == "kps":
        bias[:] = np.array([0.2, 0.2, 0.8, 0.2, 0.5, 0.5, 0.3, 0.9, 0.7, 0.9])
    return kernel, bias
