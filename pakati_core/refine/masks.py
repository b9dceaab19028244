"""What to repaint: the failing regions, or what stands out from the ground where no region is named."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..layout import pil_to_image
from ..masks import grow
from ..reference import srgb_to_lab
from ..regions import RegionSet

MARGIN = 0.04  # of the shorter side, around what was found


def repaint_mask(image: Image.Image, regions: RegionSet, names: tuple[str, ...]) -> Tensor:
    """float32 [H,W] in [0,1]: the shares of these regions, or the automatic mask where none of them is there."""
    layout = regions.at_extent(regions.extent._replace(width=image.width, height=image.height))
    chosen = [i for i, region in enumerate(layout.regions) if region.id in names]
    if not chosen:
        return automatic_mask(image)
    return layout.coverage()[chosen].sum(0).clamp(0, 1)


def automatic_mask(image: Image.Image) -> Tensor:
    """[H,W]: the largest thing that stands out in colour from the picture's border, with a margin.

    Segmented by Otsu's threshold on the distance in Lab; the whole picture where nothing stands out.
    """
    from scipy.ndimage import binary_fill_holes, label

    lab = srgb_to_lab(pil_to_image(image)[0])
    border = torch.cat([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    away = (lab - border.median(0).values).norm(dim=-1).numpy()
    pieces, count = label(away > _otsu(away))  # type: ignore[misc]
    sizes = np.bincount(np.asarray(pieces).ravel(), minlength=count + 1)[1:]
    if not count or sizes.max() < 0.002 * away.size or away.max() < 8:
        return torch.ones(away.shape)
    found = np.asarray(binary_fill_holes(pieces == 1 + int(sizes.argmax())))
    return grow(torch.from_numpy(found.astype(np.float32)), MARGIN * min(away.shape))


def _otsu(values: np.ndarray) -> float:
    """The threshold between two classes that leaves the least variance inside them."""
    counts, edges = np.histogram(values, 128)
    middles = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(middles[int(np.nan_to_num(apart).argmax())])
