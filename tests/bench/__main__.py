"""Choose a measurement by its name: ``python -m tests.bench NAME ARGUMENTS``."""

import ast
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

LIST = "list"
HERE = Path(__file__).parent


def main() -> None:
    """Run the one that is named, or say which there are."""
    name, *rest = sys.argv[1:] or [""]
    found = benches()
    if name not in found:
        Console().print(listed(found), markup=False, highlight=False, soft_wrap=True)
        sys.exit(0 if name == LIST else f"There is no measurement «{name}».")
    sys.argv = [name, *rest]
    runpy.run_module(f"tests.bench.{name}", run_name="__main__")


def listed(found: Mapping[str, str]) -> str:
    """All of them, one a line."""
    width = max(map(len, found))
    return "\n".join(f"  WHAT={name:{width}}  {about}" for name, about in found.items())


def benches() -> dict[str, str]:
    """Each measurement by its name, and what it says of itself."""
    paths = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("_"))
    return {path.stem: _about(path) for path in paths}


def _about(path: Path) -> str:
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
    return first.partition(": ``")[0]


if __name__ == "__main__":
    main()
