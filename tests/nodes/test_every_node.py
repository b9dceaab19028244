"""Promises that every node of the pack keeps, whatever it does."""

import asyncio
import inspect
import re
from pathlib import Path

import pytest

from pakati import comfy_entrypoint

ROOT = Path(__file__).absolute().parents[2]
NODES = asyncio.run(comfy_entrypoint().get_node_list())
every_node = pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)


def test_the_pack_has_nodes_and_no_two_share_an_id():
    ids = [node.define_schema().node_id for node in NODES]
    assert ids and len(ids) == len(set(ids))


@every_node
def test_the_schema_is_valid_and_named(node):
    node.GET_SCHEMA()
    schema = node.define_schema()
    assert re.fullmatch(r"Pakati[A-Z][A-Za-z0-9]+", schema.node_id)
    assert schema.category.startswith("Pakati/")
    assert schema.display_name and schema.description


@every_node
def test_every_input_has_a_tooltip(node):
    silent = [entry.id for entry in node.define_schema().inputs if not entry.tooltip]
    assert silent == []


@every_node
def test_every_output_has_a_tooltip(node):
    silent = [i for i, entry in enumerate(node.define_schema().outputs) if not entry.tooltip]
    assert silent == []


@every_node
def test_it_can_be_searched_by_other_words(node):
    assert node.define_schema().search_aliases


@every_node
def test_execute_takes_exactly_the_inputs(node):
    wanted = inspect.signature(node.execute).parameters
    schema = node.define_schema()
    given = {entry.id: entry.optional for entry in schema.inputs}
    assert set(wanted) == set(given)
    without_default = [
        name for name, optional in given.items() if optional and wanted[name].default is inspect.Parameter.empty
    ]
    assert without_default == [], "an optional input that is not connected is absent, so execute needs a default"


@every_node
def test_a_help_page_exists(node):
    page = ROOT / "web" / "docs" / f"{node.define_schema().node_id}.md"
    assert page.is_file(), f"write {page.relative_to(ROOT)}"
