"""The verb character: candidates of a character, kept or dropped by their faces."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import bar


def add_verbs(verbs) -> None:
    character = verbs.add_parser("character", help="paint candidates of a character and keep those that are like it")
    character.add_argument("character", help="its name among the presets")
    character.add_argument("scene", help="what it does")
    character.add_argument("--candidates", type=int, default=1, metavar="N", help="how many pictures")
    character.add_argument("--out", type=Path, metavar="DIR", help="a folder, gone on with where it was cut off")
    character.add_argument("--background", help="a place, or the name of a LoRA in the registry")
    character.add_argument("--quality", help="draft, standard, high or another one of sdxl_config.yaml")
    character.add_argument("--seed", type=int, default=0)
    character.add_argument("--model", help="that of sdxl_config.yaml if not given, or pakati-tiny")
    character.add_argument("--presets", type=Path, metavar="CHARACTERS.yaml")
    character.add_argument("--references", type=Path, nargs="+", metavar="PICTURE", help="pictures of its face")
    character.add_argument("--embedder", help="what reads faces: opencv-sface, buffalo_l, FILE.onnx or pakati-heads")
    character.add_argument("--no-face", choices=["drop", "keep", "retry"], default="drop", help="if no face is found")
    character.set_defaults(run=_character)


def _character(args: argparse.Namespace) -> int:
    from ..characters import (
        BatchGenerator,
        CharacterGenerator,
        SDXLPipelineManager,
        Unknown,
        folder_for,
        jobs_for,
        load_presets,
    )
    from ..errors import OutputError

    if args.candidates < 1:
        raise OutputError(f"--candidates is {args.candidates}; ask for at least 1 picture")
    presets = load_presets(args.presets)
    if args.character in presets:
        presets[args.character] = _own_faces(presets[args.character], args)
    manager = SDXLPipelineManager(args.model, _device()) if args.model else None
    generator = CharacterGenerator(manager, presets=presets)
    wish = args.character, args.scene, args.candidates, args.seed, args.background, args.quality
    jobs = jobs_for(*wish, unknown=Unknown(args.no_face))
    generator.plan(args.character, args.scene)  # says what is wrong before anything is written
    folder = args.out or folder_for(jobs, Path("out/characters") / args.character)
    report = BatchGenerator(generator.paint, folder).run(jobs, bar("painting", "picture"))
    for path, record in zip(report.pictures, report.records):
        verdict = {True: "kept", False: "dropped", None: "made"}[record["kept"]]
        print(f"  {verdict:7}  {path.name}  {record['text']}")
    print(f"{folder}: {len(report.kept)} of {len(report.pictures)} kept, {report.made_now} painted now")
    return 0 if report.kept else 1


def _own_faces(preset, args: argparse.Namespace):
    own = {"embedder": args.embedder} if args.embedder else {}
    if args.references:
        own |= {"reference_images": [str(path) for path in args.references], "reference_embeddings": []}
    return preset.model_copy(update=own)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
