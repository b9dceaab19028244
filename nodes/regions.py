"""Nodes of the menu Pakati/regions."""

NODES = []
