"""Stacks as text, names as people write them, words in a prompt, and the registry."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pakati_core.errors import PakatiError
from pakati_core.lora import LoraRegistry, LoraRow, find_name, inject, read_rows, write_rows

ROWS = {
    "luca.safetensors": LoraRow("luca.safetensors"),
    "luca.safetensors 0.8": LoraRow("luca.safetensors", 0.8, 0.8),
    "luca.safetensors 0.8 0.5": LoraRow("luca.safetensors", 0.8, 0.5),
    "styles/pixar 3d v2.safetensors -0.5 .25": LoraRow("styles/pixar 3d v2.safetensors", -0.5, 0.25),
    "luca 0.8 off": LoraRow("luca", 0.8, 0.8, on=False),
    "# luca 0.8": LoraRow("luca", 0.8, 0.8, on=False),
    "luca silent": LoraRow("luca", triggers=False),
    "luca 1 0 Off SILENT": LoraRow("luca", 1.0, 0.0, False, False),
    "luca, 0.7": LoraRow("luca", 0.7, 0.7),
    "7": LoraRow("7"),
}


@pytest.mark.parametrize("line, row", ROWS.items(), ids=ROWS)
def test_a_line_is_a_row(line, row):
    assert read_rows(f"\n  {line}  \n\n") == [row]


def test_a_line_without_strengths_has_the_registrys_weight():
    assert read_rows("luca\nalberto 1", lambda name: 0.8) == [LoraRow("luca", 0.8, 0.8), LoraRow("alberto")]


def test_a_row_that_is_on_and_off_is_refused():
    with pytest.raises(PakatiError, match="'luca on off' was not understood; write one on each line"):
        read_rows("luca on off")


@given(
    st.lists(
        st.builds(
            LoraRow,
            st.sampled_from(["luca.safetensors", "styles/pixar 3d v2.safetensors", "a"]),
            st.integers(-400, 400).map(lambda n: n / 100),
            st.integers(-400, 400).map(lambda n: n / 100),
            st.booleans(),
            st.booleans(),
        ),
        max_size=4,
    )
)
def test_rows_survive_being_written(rows):
    assert read_rows(write_rows(rows)) == rows


KNOWN = ["luca.safetensors", "styles/pixar.safetensors", "people/anna.safetensors", "things/anna.safetensors"]


@pytest.mark.parametrize(
    "name, found",
    [("luca.safetensors", KNOWN[0]), ("Luca", KNOWN[0]), ("styles\\pixar.safetensors", KNOWN[1]), ("pixar", KNOWN[1]),
     ("People/Anna.safetensors", KNOWN[2])],
)  # fmt: skip
def test_names_are_found_as_people_write_them(name, found):
    assert find_name(name, KNOWN) == found


def test_names_that_are_nowhere_or_twice():
    with pytest.raises(PakatiError, match="'anna' could be 'people/anna.safetensors' or 'things/anna.safetensors'"):
        find_name("anna", KNOWN)
    with pytest.raises(PakatiError, match="'giulia' is not in the models/loras folder"):
        find_name("giulia", KNOWN)


@pytest.mark.parametrize(
    "prompt, words, wanted",
    [
        ("a boy on a beach", ["luca", "boy"], "luca, a boy on a beach"),
        ("LUCA runs", ["luca", "Luca"], "LUCA runs"),
        ("a party", ["art"], "art, a party"),
        ("", ["luca", "Luca", "boy"], "luca, boy"),
        ("grass", [], "grass"),
        ("pixar style", ["pixar style", "3d (render)"], "3d (render), pixar style"),
    ],
)
def test_each_word_is_in_the_prompt_once(prompt, words, wanted):
    once = inject(prompt, words)
    assert once == wanted
    assert inject(once, words) == once


REGISTRY = """
characters:
  luca:
    name: "Luca Paguro"
    lora_path: "/mnt/elsewhere/outputs/loras/luca_character.safetensors"
    default_weight: 0.8
    trigger_words: ["luca", "boy", "brown hair", "green eyes"]
backgrounds:
  portorosso:
    name: "Portorosso Town"
    lora_path: "backgrounds/portorosso_background.safetensors"
    default_weight: 0.6
    trigger_words: ["portorosso", "italian seaside town"]
    author: somebody
styles:
  pixar_3d:
    lora_path: 'D:\\loras\\pixar_style.safetensors'
notes: kept
"""


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "lora_registry.yaml").write_text(REGISTRY, encoding="utf-8")
    return LoraRegistry.load(tmp_path / "lora_registry.yaml")


def test_the_documents_registry_comes_back_as_it_was(registry, tmp_path):
    registry.save(tmp_path / "again.yaml")
    assert yaml.safe_load((tmp_path / "again.yaml").read_text()) == yaml.safe_load(REGISTRY)


@pytest.mark.parametrize("name", ["luca", "luca_character.safetensors", "people/Luca_Character.safetensors"])
def test_an_entry_is_found_by_its_name_or_its_file(registry, name):
    assert registry.find(name).trigger_words[0] == "luca"
    assert registry.words_of(name) == ("luca", "boy", "brown hair", "green eyes")
    assert registry.find("giulia") is None


def test_files_are_looked_for_where_the_entry_says_and_in_the_folders(registry, tmp_path):
    folder = tmp_path / "loras"
    (folder / "backgrounds").mkdir(parents=True)
    wanted = {
        "luca": folder / "luca_character.safetensors",
        "portorosso": folder / "backgrounds" / "portorosso_background.safetensors",
        "pixar_3d": folder / "pixar_style.safetensors",
    }
    assert registry.missing([folder]) == list(wanted)
    for short, path in wanted.items():
        path.touch()
        assert registry.locate(short, [tmp_path, folder]) == path
    assert registry.missing([folder]) == []
    with pytest.raises(PakatiError, match="'luca' is neither at /mnt/elsewhere/.* nor in .*; put its file there"):
        registry.locate("luca", [tmp_path / "empty"])


WRONG = {
    "no path": ("characters: {luca: {name: x}}", "characters.luca.lora_path cannot be used"),
    "a weight in words": (
        "styles: {a: {lora_path: x, default_weight: much}}", "styles.a.default_weight cannot be used"
    ),
    "words that are no list": ("styles: {a: {lora_path: x, trigger_words: luca}}", "styles.a.trigger_words cannot"),
    "one name twice": ("styles: {a: {lora_path: x}}\ncharacters: {a: {lora_path: y}}", "'a' is there twice"),
    "no mapping": ("- luca", "holds a list"),
    "no YAML": ("characters: [", "cannot be read as YAML"),
    "code": ("characters: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
}  # fmt: skip


@pytest.mark.parametrize("text, message", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_on_load(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(PakatiError, match=message):
        LoraRegistry.load(tmp_path / "r.yaml")
