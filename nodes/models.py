"""Nodes that load the embedded models."""

NODES = []
