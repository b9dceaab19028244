"""Whether the tiny cast stays itself: finder, embedder, LoRAs and filter, measured offline with 95 % intervals.

    python -m tools.bench.identity verification single
    python -m tools.bench.identity two                       in ComfyUI's Python: LoRAs of regions live there

verification: pairs of drawn heads of identities that training never showed.  single: pictures that the embedded model
paints with one character's LoRA, against both characters' filters, which are calibrated on drawn references.  two: both
characters in one picture, each by its LoRA in its own half, assigned by the faces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pakati_core.characters import Aggregate, Match, Person, calibrate, recognise, recognise_all
from pakati_core.characters.embeddings import Embeddings
from pakati_core.characters.heads_embedder import HeadsEmbedder
from pakati_core.tiny.cast import CAST, lora_of
from pakati_core.tiny.heads import LOOKS, Look, Pose, draw_head, is_held_out
from pakati_core.tiny.world import MATERIALS
from tools.bench.shares import Score
from tools.bench.sheets import save_sheet
from tools.train.data import random_material

REFERENCES, STRANGERS, SIDE, WEIGHT = 8, 300, 128, 1.0


def drawn(look: Look, rng: np.random.Generator) -> Image.Image:
    return draw_head(look, Pose.drawn(rng), SIDE, str(rng.choice(MATERIALS)), int(rng.integers(1 << 30)))


def person(name: str, embedder: HeadsEmbedder) -> Person:
    """Calibrated as a user would: on a few references and on faces of other people."""
    rng = np.random.default_rng(900)
    references = [(f"{name}{i}", drawn(CAST[name], rng)) for i in range(REFERENCES)]
    others = [look for look in LOOKS if look not in CAST.values()]
    faces = [embedder.embed(drawn(others[i], rng)) for i in rng.choice(len(others), STRANGERS, replace=False)]
    strangers = np.stack([found[0].vector for found in faces if found])
    known = Embeddings.of(embedder, references)
    threshold = calibrate(known, strangers, embedder.threshold)
    print(f"{name}: threshold {threshold.value:.3f}, {threshold.reason}")
    return Person(name, known, threshold.value, Aggregate.top2)


def measure_verification(args: argparse.Namespace) -> Score:
    embedder, score, rng = HeadsEmbedder(), Score(), np.random.default_rng(910)
    vectors = []
    for look in tqdm([look for look in LOOKS if is_held_out(look)], desc="verification"):
        faces = [embedder.embed(drawn(look, rng)) for _ in range(2)]
        for found in faces:
            score.add("one head, and it is found", len(found) == 1)
        if all(faces):
            vectors.append([found[0].vector for found in faces])
    one, two = np.stack(vectors).transpose(1, 0, 2)
    cosines = one @ two.T
    own, others = cosines.diagonal(), np.sort(cosines[~np.eye(len(cosines), dtype=bool)])
    area = np.searchsorted(others, own).mean() / len(others)
    print(f"verification: AUC {area:.5f} over {len(own)} held-out identities, {len(others)} pairs of different ones")
    return score


def measure_single(args: argparse.Namespace) -> Score:
    from pakati_core.engines import Request
    from pakati_core.engines.diffusers import DiffusersEngine
    from pakati_core.geometry import Extent
    from pakati_core.lora import EngineLoraLoader
    from pakati_core.regions import RegionSet

    embedder, score, rng = HeadsEmbedder(), Score(), np.random.default_rng(920)
    people = {name: person(name, embedder) for name in CAST}
    engine = DiffusersEngine("pakati-tiny")
    loader, shown = EngineLoraLoader(engine), []
    for name in CAST:
        loader.load_lora(lora_of(name), name, WEIGHT)
        for number in tqdm(range(args.count), desc=name):
            layout = RegionSet(Extent(SIDE, SIDE), (), f"on {random_material(rng)}")
            image = engine.generate(Request(layout, seed=70_000 + number)).image
            shown.append(image)
            for asked, who in people.items():
                same = recognise(image, who, embedder).match == Match.same
                score.add(f"{name}'s LoRA passes {asked}'s filter", same)
        loader.unload_all_loras()
    save_sheet(shown[:12] + shown[args.count : args.count + 12], args.out / "single.png")
    return score


def measure_two(args: argparse.Namespace) -> Score:
    from tools.bench.host import load_host

    load_host()
    paint = _painter_of_two()
    embedder, score, shown = HeadsEmbedder(), Score(), []
    people = [person(name, embedder) for name in CAST]
    for number in tqdm(range(args.count), desc="two"):
        order = list(CAST) if number % 2 else list(CAST)[::-1]
        image = paint(order, 80_000 + number)
        shown.append(image)
        found = recognise_all(image, people, embedder)
        sides = {one.person: one.box and ("right" if one.box.x + one.box.width / 2 > image.width / 2 else "left")
                 for one in found}  # fmt: skip
        right = sides == {order[0]: "left", order[1]: "right"}
        score.add("two LoRAs in two regions, assigned right", right)
        score.add("... and both pass their filters", right and all(one.match == Match.same for one in found))
    save_sheet(shown[:24], args.out / "two.png")
    return score


def _painter_of_two():
    """order, seed -> a picture with the first one in its left half. Through the nodes, as a workflow runs them."""
    import folder_paths

    import nodes as stock
    from pakati.nodes.regions import PakatiApplyRegions, PakatiRegionalPrompt  # type: ignore[import-not-found]
    from pakati.nodes.tiny_model import load_tiny  # type: ignore[import-not-found]
    from pakati.nodes.types import PlacedRegion  # type: ignore[import-not-found]
    from pakati.pakati_core.layout import image_to_pil  # type: ignore[import-not-found]
    from pakati.pakati_core.shapes import BoxShape  # type: ignore[import-not-found]

    folder_paths.add_model_folder_path("loras", str(lora_of(next(iter(CAST))).parent))
    model, clip, vae = load_tiny()
    base = [stock.CLIPTextEncode().encode(clip, text)[0] for text in ("on grass", "")]

    def paint(order: list[str], seed: int) -> Image.Image:
        regions, rng = None, np.random.default_rng(seed)
        for number, name in enumerate(order):
            shape = BoxShape(number * SIDE, 0, SIDE, SIDE)
            region, loras = PlacedRegion.unnamed(2 * SIDE, SIDE, shape), [(lora_of(name).name, WEIGHT, WEIGHT)]
            prompt = f"on {random_material(rng)}"
            (regions,) = PakatiRegionalPrompt.execute(region, prompt, regions, loras=loras).result
        wired = PakatiApplyRegions.execute(model, clip, *base, regions).result
        latent = stock.EmptyLatentImage().generate(2 * SIDE, SIDE, 1)[0]
        sampled = stock.KSampler().sample(wired[0], seed, 20, 4.0, "euler", "simple", wired[1], wired[2], latent)[0]
        return image_to_pil(stock.VAEDecode().decode(vae, sampled)[0])

    return paint


SECTIONS = {"verification": measure_verification, "single": measure_single, "two": measure_two}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=["verification", "single"], choices=list(SECTIONS))
    parser.add_argument("--count", type=int, default=200, help="pictures for each figure")
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="where sheets of the pictures are written")
    args = parser.parse_args()
    for section in args.sections:
        for label, share in SECTIONS[section](args).shares.items():
            print(f"{label:55} {share}")


if __name__ == "__main__":
    main()
