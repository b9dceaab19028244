"""Random scenes of the embedded world, and what can be said about them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pakati_core.tiny.world import (
    CLASHES,
    MATERIALS,
    PAIRS,
    SEEN_PAIRS,
    TEXTURES,
    Frame,
    Patch,
    Scene,
    Thing,
    draw,
)

WHOLE = Frame(0.0, 0.0, 1.0, 1.0)


def random_material(rng: np.random.Generator) -> str:
    """Textures are harder than plain colours, so they come twice as often as their number says."""
    if rng.random() < 0.65:
        return TEXTURES[rng.integers(len(TEXTURES))]
    return MATERIALS[rng.integers(len(TEXTURES), len(MATERIALS))]


def random_pair(rng: np.random.Generator, material: str, taken: set, pairs: tuple = SEEN_PAIRS) -> tuple[str, str]:
    while True:
        kind, colour = pairs[rng.integers(len(pairs))]
        if colour not in CLASHES[material] and (kind, colour) not in taken:
            taken.add((kind, colour))
            return kind, colour


def plain_scene(
    rng: np.random.Generator, pairs: tuple = SEEN_PAIRS, count: int | None = None, centred: float = 0.0
) -> Scene:
    """One to six objects, none over another, on one material. Sizes are small or large, positions free.

    centred: the share of single objects that stand near the middle.
    """
    material, taken, things = random_material(rng), set(), []
    count = count if count is not None else int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.45, 0.25, 0.14, 0.08, 0.05, 0.03]))
    for _ in range(count):
        for _ in range(30):
            small = rng.random() < (0.4 if count < 3 else 0.8)
            radius = rng.uniform(0.115, 0.155) if small else rng.uniform(0.19, 0.32 if count == 1 else 0.25)
            x, y = rng.uniform(radius + 0.02, 0.98 - radius, 2)
            if count == 1 and rng.random() < centred:
                x, y = rng.uniform(0.44, 0.56, 2)
            if all((x - t.x) ** 2 + (y - t.y) ** 2 > (1.1 * (radius + t.radius)) ** 2 for t in things):
                things.append(Thing(*random_pair(rng, material, taken, pairs), float(x), float(y), float(radius)))
                break
    return Scene(material, tuple(things), (), int(rng.integers(2**31)))


def split(rng: np.random.Generator, count: int, frame: Frame = WHOLE) -> list[Frame]:
    """Cut a frame into `count` cells by straight cuts, none thinner than a quarter of the canvas."""
    if count == 1:
        return [frame]
    width, height = frame.right - frame.left, frame.bottom - frame.top
    first = count // 2 if rng.random() < 0.5 else count - count // 2
    share = float(np.clip(first / count + rng.uniform(-0.08, 0.08), 0.3, 0.7))
    if width * rng.uniform(0.7, 1.4) > height:
        cut = frame.left + width * share
        halves = frame._replace(right=cut), frame._replace(left=cut)
    else:
        cut = frame.top + height * share
        halves = frame._replace(bottom=cut), frame._replace(top=cut)
    return split(rng, first, halves[0]) + split(rng, count - first, halves[1])


def shrink(rng: np.random.Generator, frame: Frame) -> Frame:
    """Leave a gap around a cell, so that regions also lie free on the base."""
    width, height = frame.right - frame.left, frame.bottom - frame.top
    left, right, top, bottom = rng.uniform(0, 0.12, 4)
    return Frame(frame.left + left * width, frame.top + top * height,
                 frame.right - right * width, frame.bottom - bottom * height)  # fmt: skip


def on_grid(frame: Frame, parts: int = 16) -> Frame:
    """Its edges moved to the next sixteenth, where no latent cell has a share in two regions.

    People draw halves and quarters. A model that has seen only other cuts takes the shared cells for a region's mark.
    """
    return Frame(*(round(parts * edge) / parts for edge in frame))


def placer(rng: np.random.Generator, aligned: float):
    """A share of the layouts lies on sixteenths or, where coarser levels of the UNet share no cell either, quarters."""
    if rng.random() >= aligned:
        return Frame._make
    return on_grid if rng.random() < 0.5 else lambda frame: on_grid(frame, 4)


def cells(rng: np.random.Generator, count: int, aligned: float = 0.5) -> list[Frame]:
    """`count` cells that fill the canvas, placed as people place them; aligned: the share of layouts on the grid."""
    cut = split(rng, count)
    placed = [*map(placer(rng, aligned), cut)]
    return placed if all(cell.left < cell.right and cell.top < cell.bottom for cell in placed) else cut


def fill(rng: np.random.Generator, frame: Frame, material: str, taken: set, pairs: tuple, stray: float = 1.0) -> Thing:
    """One object inside a frame, as large as the frame suggests; stray: how far it may stand from the frame's middle.

    Where long frames hold their objects anywhere, a small model paints long objects, or two.
    """
    width, height = frame.right - frame.left, frame.bottom - frame.top
    radius = min(0.34, min(width, height) * rng.uniform(0.32, 0.45))
    x = rng.uniform(frame.left + radius, frame.right - radius)
    y = rng.uniform(frame.top + radius, frame.bottom - radius)
    middle = rng.uniform(1 - stray, 1)
    x, y = x + middle * ((frame.left + frame.right) / 2 - x), y + middle * ((frame.top + frame.bottom) / 2 - y)
    return Thing(*random_pair(rng, material, taken, pairs), float(x), float(y), float(radius), frame)


def regional_scene(
    rng: np.random.Generator, pairs: tuple = SEEN_PAIRS, count: int | None = None, stray: float = 1.0
) -> Scene:
    """Cells that each hold an object, a material, or both; stray: see `fill`."""
    base, things, patches, taken = random_material(rng), [], [], set()
    count = count if count is not None else int(rng.choice([1, 2, 3, 4, 5, 6], p=[0.05, 0.3, 0.2, 0.15, 0.05, 0.25]))
    # Per scene, not per cell: else hardly any scene would have no gap at all, as people's layouts have none.
    gaps = 0.8 if rng.random() < 0.35 else 0.0
    for cell in cells(rng, count, aligned=0.75):
        frame, role = shrink(rng, cell) if rng.random() < gaps else cell, rng.random()
        material = random_material(rng) if role < 0.4 else base
        if material != base:
            patches.append(Patch(material, frame, round=role < 0.04))
        if role > 0.15 or material == base:
            things.append(fill(rng, frame, material, taken, pairs, stray))
    return Scene(base, tuple(things), tuple(patches), int(rng.integers(2**31)))


def random_scene(rng: np.random.Generator) -> Scene:
    return regional_scene(rng) if rng.random() < 0.5 else plain_scene(rng)


def any_scene(rng: np.random.Generator) -> Scene:
    """A tenth with one object that is larger than the world draws it: the model's sizes are not exact either."""
    way = rng.random()
    if way < 0.1:
        scene, radius = plain_scene(rng, PAIRS, count=1), rng.uniform(0.3, 0.42)
        x, y = rng.uniform(radius, 1 - radius, 2)
        return scene.with_things(*(replace(t, x=float(x), y=float(y), radius=radius) for t in scene.things))
    return plain_scene(rng, PAIRS) if way < 0.6 else regional_scene(rng, PAIRS)


def with_patches(scene: Scene, rng: np.random.Generator) -> Scene:
    """More round patches, and small free ones beside the objects: what a region without an object looks like.

    Only of textures: a round patch of a plain colour is a circle.
    """
    patches = [replace(p, round=p.round or (p.material in TEXTURES and rng.random() < 0.3)) for p in scene.patches]
    if not patches and rng.random() < 0.3:
        half = rng.uniform(0.08, 0.22)
        x, y = rng.uniform(half, 1 - half, 2)
        if all((x - t.x) ** 2 + (y - t.y) ** 2 > (1.4 * half + t.radius) ** 2 for t in scene.things):
            frame = Frame(x - half, y - half, x + half, y + half)
            patches.append(Patch(str(rng.choice(TEXTURES)), frame, round=rng.random() < 0.7))
    return replace(scene, patches=tuple(patches))


def pictures(count: int, side: int, seed: int) -> np.ndarray:
    """[count, side, side, 3] uint8 of random scenes."""
    rng = np.random.default_rng(seed)
    return np.stack([draw(random_scene(rng), side) for _ in range(count)])
