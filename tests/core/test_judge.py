"""Questions, verdicts and the judges that need no network. Numbers in names: the criteria of the research notes."""

import json
import math
import random
import string
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from pakati_core.errors import JudgeError
from pakati_core.geometry import Extent
from pakati_core.judge import (
    Check,
    MetricsJudge,
    NoisyJudge,
    NoVerdict,
    Question,
    QuestionSet,
    ReaderJudge,
    ReplayJudge,
    Verdict,
    instruction,
    questions_from_prompt,
    questions_from_regions,
    verdict_from_text,
)
from pakati_core.regions import Region, RegionSet
from pakati_core.shapes import BoxShape
from pakati_core.tiny.world import Scene, Thing, draw

chances = st.floats(0, 1, allow_subnormal=False)


def verdict(
    *values: float, needs: dict[int, tuple[int, ...]] | None = None, weights: tuple[float, ...] = ()
) -> Verdict:
    return Verdict(
        tuple(
            Check(f"q{i}", f"is {i}?", "object", None, p, (weights or [1.0] * len(values))[i],
                  needs=tuple(f"q{n}" for n in (needs or {}).get(i, ())))
            for i, p in enumerate(values)
        )
    )  # fmt: skip


# --- questions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt, wanted",
    [
        (
            "a red circle on sand",
            [("object", "circle", ""), ("attribute", "ground", "sand"), ("attribute", "circle", "red")],
        ),
        ("three dogs", [("object", "dog", ""), ("count", "dog", "3")]),
        ("a cat to the left of a dog", [("object", "cat", ""), ("object", "dog", ""), ("relation", "cat", "left of")]),
        (
            "a blue star at the top left",
            [("object", "star", ""), ("attribute", "star", "blue"), ("position", "star", "top left")],
        ),
        ('a sign that says "OPEN"', [("object", "sign", ""), ("text", "", "OPEN")]),
        ("pine trees, impressionist style", [("object", "pine trees", ""), ("style", "", "impressionist style")]),
        ("nothing but plain blue", [("attribute", "ground", "plain blue")]),
        ("sea background with a moon", [("attribute", "ground", "sea"), ("object", "moon", "")]),
    ],
    ids=["ground", "count", "relation", "position", "text", "style", "material", "background"],
)  # fmt: skip
def test_questions_follow_from_the_prompt(prompt, wanted):
    asked = [(q.kind, q.thing, q.value) for q in questions_from_prompt(prompt, artefacts=False)]
    assert sorted(asked) == sorted(wanted)


def test_a_detail_needs_the_thing_that_has_it():
    asked = {(q.kind, q.thing): q for q in questions_from_prompt("a red dog left of a cat")}
    dog, cat = asked["object", "dog"].id, asked["object", "cat"].id
    assert asked["attribute", "dog"].needs == (dog,)
    assert asked["relation", "dog"].needs == (dog, cat)


def test_regions_are_asked_about_each_in_its_place():
    layout = RegionSet(Extent(128, 128), (Region("left", BoxShape(0, 0, 64, 128), "a red circle"),), "grass")
    questions = questions_from_regions(layout)
    assert [q.region for q in questions] == ["left", "left", None, None]
    assert "0-51 % of the width" in instruction(questions).replace("0-52", "0-51")
    assert QuestionSet.from_dict(json.loads(json.dumps(questions.to_dict()))) == questions


def test_a_base_prompt_that_nobody_sees_is_not_asked_about():
    layout = RegionSet(Extent(64, 64), (Region("all", BoxShape(0, 0, 64, 64), "sand"),), "grass")
    assert [q.value for q in questions_from_regions(layout, artefacts=False)] == ["sand"]


def test_the_digest_ignores_the_order_and_nothing_else():
    questions = questions_from_prompt("a red dog left of a cat")
    mixed = replace(questions, questions=questions.questions[::-1])
    other = replace(questions, questions=(replace(questions.questions[0], weight=2.0), *questions.questions[1:]))
    assert mixed.digest == questions.digest != other.digest


@pytest.mark.parametrize(
    "make",
    [
        lambda: questions_from_prompt("  "),
        lambda: Question("a", "?", "mood"),
        lambda: QuestionSet((Question("a", "?", "object"), Question("a", "!", "object"))),
        lambda: QuestionSet((Question("a", "?", "object", needs=("b",)),)),
        lambda: QuestionSet.from_dict({"questions": [{"id": "a", "colour": 1}]}),
        lambda: Check("a", "?", "object", None, float("nan")),
        lambda: Verdict(()),
    ],
    ids=["empty", "kind", "twice", "unknown need", "unknown key", "nan", "no checks"],
)
def test_what_cannot_be_used_is_refused(make):
    with pytest.raises(JudgeError, match="give|say|name|number|each"):
        make()


# --- verdicts ---------------------------------------------------------------------------------------------------------


@given(st.lists(chances, min_size=1, max_size=12))
def test_criterion_6_means_equal_their_closed_forms(values):
    made = verdict(*values)
    assert made.arithmetic == pytest.approx(sum(values) / len(values), abs=1e-12)
    assert made.geometric == pytest.approx(math.prod(v ** (1 / len(values)) for v in values), abs=1e-12)


@given(chances, st.floats(0, 0.49), chances)
def test_criterion_6_a_failed_parent_makes_its_children_count_nothing(child, parent, other):
    made = verdict(parent, child, child, other, needs={1: (0,), 2: (1,)})
    assert (made.effective["q1"], made.effective["q2"]) == (0, 0)
    assert made.geometric == 0
    assert made.arithmetic == pytest.approx((parent + other) / 4, abs=1e-12)


@given(st.lists(chances, min_size=1, max_size=8), st.floats(0, 0.49))
def test_criterion_6_a_pass_never_lowers_and_a_fail_never_raises(values, p):
    made = verdict(*values)
    assert verdict(*values, 1.0).arithmetic >= made.arithmetic - 1e-12
    if p <= min(values):
        assert verdict(*values, p).geometric <= made.geometric + 1e-12


def test_needs_that_go_in_a_circle_end():
    assert verdict(0.9, 0.9, needs={0: (1,), 1: (0,)}).arithmetic == pytest.approx(0.9)


@given(st.permutations(range(5)), st.lists(chances, min_size=5, max_size=5))
def test_criterion_3_the_order_of_checks_changes_nothing(order, values):
    made = verdict(*values, weights=(1, 2, 0.5, 1, 3))
    mixed = Verdict(tuple(made.checks[i] for i in order))
    assert mixed == made and mixed.geometric == made.geometric and mixed.arithmetic == made.arithmetic


def test_issues_are_sorted_into_the_documents_classes():
    kinds = ("object", "relation", "style")
    made = Verdict(tuple(Check(f"q{i}", "?", kind, None, 0.1 * i) for i, kind in enumerate(kinds)))
    assert {name: [row["id"] for row in rows] for name, rows in made.issues().items()} == {
        "object": ["q0"], "structural": ["q1"], "semantic": ["q2"],
    }  # fmt: skip
    assert made.issues()["object"][0]["severity"] == 1
    assert made.satisfaction_score == made.geometric
    assert Verdict.from_dict(json.loads(json.dumps(made.to_dict()))) == made


# --- answers as text --------------------------------------------------------------------------------------------------

QUESTIONS = questions_from_prompt("a red dog on a sofa", artefacts=False)
ANSWERS = {
    "answers": [
        {"id": q.id, "answer": "yes" if i else "no", "certainty": "likely", "evidence": "seen {not} [there]"}
        for i, q in enumerate(QUESTIONS)
    ]
}
PLAIN = json.dumps(ANSWERS)
WRAPPINGS = {
    "plain": PLAIN,
    "indented": json.dumps(ANSWERS, indent=3),
    "fenced as json": f"```json\n{PLAIN}\n```",
    "fenced": f"```\n{PLAIN}\n```",
    "prose around": f"Sure! Here is what I see:\n{PLAIN}\nLet me know if {{you}} need more [anything].",
    "thought before": f"<think>maybe {{'answers': []}} or so</think>\n{PLAIN}",
    "byte order mark": f"\ufeff  {PLAIN}\n\n",
    "in a string": json.dumps(PLAIN),
    "bare list": json.dumps(ANSWERS["answers"]),
}


@pytest.mark.parametrize("text", WRAPPINGS.values(), ids=WRAPPINGS.keys())
def test_criterion_4_every_wrapping_reads_the_same(text):
    made = verdict_from_text(text, QUESTIONS, "j")
    assert isinstance(made, Verdict)
    assert [check.p_yes for check in made.checks] == pytest.approx([0.15] + [0.85] * (len(QUESTIONS) - 1))


def malformed() -> list[str]:
    """500 texts that are no complete set of answers."""
    rng = random.Random(4)
    first = QUESTIONS.questions[0].id
    fixed = ["", " ", "0.8/1", "NaN", "8 out of 10", "null", "true", "[]", "{}", '{"score": 0.9}', '{"answers": {}}',
             '{"answers": "yes"}', "[" * 5000, "{" * 5000, '{"answers":' * 2000, PLAIN.replace('"no"', "NaN"),
             PLAIN.replace('"no"', "0.2"), PLAIN.replace('"no"', '"maybe"'), PLAIN.replace("likely", "0.8"),
             PLAIN.replace(f'"{first}"', '"q99"'), PLAIN + PLAIN.replace('"no"', '"yes"'),
             PLAIN.replace('"id"', '"name"'),
             PLAIN.replace('"no"', '"no", "answer": "yes"')]  # fmt: skip
    cut = [PLAIN[: rng.randrange(1, len(PLAIN) - 2)] for _ in range(150)]
    fenced = [f"```json\n{PLAIN[: rng.randrange(1, len(PLAIN) - 2)]}\n```" for _ in range(100)]
    short = [json.dumps({"answers": rng.sample(ANSWERS["answers"], rng.randrange(len(QUESTIONS)))}) for _ in range(60)]
    rows = ANSWERS["answers"]
    types = [json.dumps({"answers": [{**row, "answer": rng.choice([1, None, [], 0.7])} for row in rows]})
             for _ in range(60)]  # fmt: skip
    noise = ["".join(rng.choices(string.printable, k=rng.randrange(1, 300))) for _ in range(200)]
    return (fixed + cut + fenced + short + types + noise)[:500]


def test_criterion_4_malformed_answers_are_no_verdict():
    texts = malformed()
    assert len(texts) == 500
    read = [text for text in texts if not isinstance(verdict_from_text(text, QUESTIONS), NoVerdict)]
    assert read == []


@settings(max_examples=100)
@given(st.text())
def test_criterion_4_no_text_raises(text):
    assert isinstance(verdict_from_text(text, QUESTIONS), NoVerdict)


# --- judges -----------------------------------------------------------------------------------------------------------


def scene(*things: Thing, material: str = "sand") -> Image.Image:
    return Image.fromarray(draw(Scene(material, things), 128))


CIRCLE, STAR = Thing("circle", "red", 0.28, 0.5, 0.2), Thing("star", "blue", 0.72, 0.5, 0.2)


@pytest.mark.parametrize(
    "prompt, right",
    [
        ("a red circle and a blue star on sand", True),
        ("a red circle to the left of a blue star", True),
        ("a red circle to the right of a blue star", False),
        ("a red circle on the left", True),
        ("a red circle on the right", False),
        ("a green circle on sand", False),
        ("a red circle, a red circle", False),
        ("a red circle on grass", False),
        ("one circle and 1 star", True),
        ("two stars", False),
    ],
)
def test_the_reader_judges_drawn_scenes(prompt, right):
    made = ReaderJudge().judge(scene(CIRCLE, STAR), questions_from_prompt(prompt))
    assert isinstance(made, Verdict)
    assert made.all_right is right, made.failed
    assert (made.geometric > 0.9) is right


def test_the_reader_judges_each_region_by_itself():
    left, right = BoxShape(0, 0, 64, 128), BoxShape(64, 0, 64, 128)
    layout = RegionSet(Extent(128, 128), (Region("a", left, "a blue star on sand"), Region("b", right, "a blue star")))
    made = ReaderJudge().judge(scene(CIRCLE, STAR), questions_from_regions(layout))
    assert isinstance(made, Verdict)
    assert {check.region for check in made.failed} == {"a"}
    assert "circle" in made.failed[0].evidence


def test_the_reader_gives_no_verdict_on_what_it_does_not_know():
    made = ReaderJudge().judge(scene(CIRCLE), questions_from_prompt("a lion on sand"))
    assert isinstance(made, NoVerdict) and "lion" in made.reason


def test_measurements_find_flaws_and_colours():
    judge, sound = MetricsJudge(), scene(CIRCLE, STAR)
    questions = QuestionSet(
        (Question("f", "sound?", "artefact"), Question("c", "red?", "attribute", thing="it", value="red"))
    )
    good = judge.judge(sound, questions)
    flat = judge.judge(Image.new("RGB", (128, 128), "navy"), questions)
    soft = judge.judge(sound.filter(ImageFilter.GaussianBlur(12)), questions)
    assert isinstance(good, Verdict) and isinstance(flat, Verdict) and isinstance(soft, Verdict)
    assert good.all_right and not flat.effective["f"] and flat.effective["c"] == 0
    assert soft.effective["f"] < good.effective["f"]
    assert isinstance(judge.judge(sound, questions_from_prompt("a dog")), NoVerdict)


def test_an_answer_is_kept_by_what_the_picture_shows(tmp_path):
    asked = []

    class Counting(ReaderJudge):
        def judge(self, image, questions):
            asked.append(1)
            return super().judge(image, questions)

    questions, picture = questions_from_prompt("a red circle"), scene(CIRCLE)
    first = ReplayJudge(tmp_path, Counting()).judge(picture, questions)
    again = ReplayJudge(tmp_path, Counting()).judge(picture.copy(), questions)
    recorded = ReplayJudge(tmp_path).judge(picture, questions)
    assert first == again == recorded and len(asked) == 1
    assert isinstance(ReplayJudge(tmp_path).judge(scene(STAR), questions), NoVerdict)
    next(iter(tmp_path.glob("*.json"))).write_text("{")
    with pytest.raises(JudgeError, match="delete it"):
        ReplayJudge(tmp_path).judge(picture, questions)


def test_a_noisy_judge_errs_as_often_as_it_is_told_and_the_same_way_again():
    questions, sure = questions_from_prompt("a red circle on sand", artefacts=False), ReaderJudge()
    picture, turned = scene(CIRCLE), []
    for seed in range(200):
        noisy = NoisyJudge(sure, 0.2, seed)
        made = noisy.judge(picture, questions)
        assert isinstance(made, Verdict) and made == noisy.judge(picture, questions) if seed < 3 else True
        turned += [check.p_yes < 0.5 for check in made.checks] if isinstance(made, Verdict) else []
    assert np.mean(turned) == pytest.approx(0.2, abs=0.05)
