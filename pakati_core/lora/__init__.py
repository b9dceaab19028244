"""LoRAs as additions to a layer's output, so that a caller can add them where it likes; pure torch."""

from .deltas import BiasDelta, Delta, FullDelta, Hadamard, Kronecker, LowRank

__all__ = ["BiasDelta", "Delta", "FullDelta", "Hadamard", "Kronecker", "LowRank"]
