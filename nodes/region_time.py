"""When a region's prompt acts."""

from __future__ import annotations


def in_time(region, sampling, sigma: float) -> bool:
    """As ConditioningSetTimestepRange counts, but the end belongs to the region's successor."""
    begun = region.start <= 0 or sigma <= sampling.percent_to_sigma(region.start)
    return begun and (region.end >= 1 or sigma > sampling.percent_to_sigma(region.end))
