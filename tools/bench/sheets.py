"""Pictures of a benchmark on one sheet, to be looked at."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def save_sheet(images: list[Image.Image], path: Path, columns: int = 12) -> None:
    width, height = images[0].size
    sheet = Image.new("RGB", (columns * width, -(-len(images) // columns) * height), "white")
    for number, image in enumerate(images):
        sheet.paste(image, (number % columns * width, number // columns * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
