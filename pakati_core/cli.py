"""The `pakati` command. A mistake ends in one sentence and exit code 2; --debug shows where it came from."""

from __future__ import annotations

import argparse
import sys
import warnings

from .commands import GROUPS
from .errors import PakatiError, PakatiWarning


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", PakatiWarning)
            warnings.showwarning = _say_warning
            return args.run(args)
    except PakatiError as exc:
        if args.debug:
            raise
        print(f"pakati: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pakati: cancelled; nothing is half written", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pakati", description="Regional prompts on one picture.")
    parser.add_argument("--debug", action="store_true", help="show the full traceback of a mistake")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for group in GROUPS:
        group.add_verbs(verbs)
    return parser


def _say_warning(message, category, *_args, **_kwargs) -> None:
    if issubclass(category, PakatiWarning):
        print(f"pakati: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
