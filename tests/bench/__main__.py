"""Run a measurement by its name: ``python -m tests.bench NAME [OPTIONS]``."""

import ast
import importlib
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from tests.bench.report.goals import Goal
from tests.support.options import parse_options

LIST = "list"
HERE = Path(__file__).parent


def main() -> None:
    """Run the measurement that is named, or list all of them."""
    name, *argv = sys.argv[1:] or [""]
    found = benches()
    console = Console(width=100)
    if name not in found:
        console.print(listed(found), markup=False, highlight=False, soft_wrap=True)
        sys.exit(0 if name == LIST else f'There is no measurement "{name}".')
    bench = importlib.import_module(f"tests.bench.{name}")
    options = parse_options(f"tests.bench {name}", bench.__doc__, bench.OPTIONS, argv)
    with tempfile.TemporaryDirectory(prefix="reelqueue-bench-") as folder:
        for part in bench.run(options, Path(folder)):
            console.print(str(part) if isinstance(part, Goal) else part)


def listed(found: Mapping[str, str]) -> str:
    """Return all measurements, one on each line."""
    width = max(map(len, found))
    return "\n".join(f"  WHAT={name:{width}}  {about}" for name, about in found.items())


def benches() -> dict[str, str]:
    """Return the first line of each measurement's docstring, by its name."""
    paths = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("_"))
    return {path.stem: _first_line(path) for path in paths}


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


if __name__ == "__main__":
    main()
