"""``python -m tests.reliability [PART ...] [--count N] [--seed N]``: try parts, all by default; print numbers."""

import argparse
import importlib
import pathlib
import pkgutil

FOLDER = pathlib.Path(__file__).parent


def main() -> None:
    """Read the command line, run the parts, print a table row for each."""
    names = [found.name for found in pkgutil.iter_modules([str(FOLDER)]) if not found.name.startswith("_")]
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}")
    parser.add_argument("--count", type=int, help="how often each is tried; by default COUNT of the part, or 1,000")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if unknown := set(given.parts) - set(names):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; expected of {', '.join(names)}")
    for name in given.parts or names:
        part = importlib.import_module(f"{__package__}.{name}")
        if hasattr(part, "run"):
            numbers = part.run(given.count or getattr(part, "COUNT", 1000), given.seed)
            print(f"{name}: " + ", ".join(f"{key} {value:,}" for key, value in numbers.items()), flush=True)


if __name__ == "__main__":
    main()
