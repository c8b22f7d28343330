"""What a worker process is made of: the client of the video API, the ledger, and the policy."""

from importlib.util import find_spec
from pathlib import Path


def _check_sibling_packages() -> None:
    """Check that the packages `config` and `tasks` that Python finds are those of reelqueue.

    Raises:
        ImportError: A package of the same name hides one of them. Without this check, the import of
            one of its modules would fail, without the reason.
    """
    home = Path(__file__).resolve().parents[1]
    for name in ("config", "tasks"):
        spec = find_spec(name)
        if spec is None:
            continue
        found = spec.origin or str(next(iter(spec.submodule_search_locations or ()), ""))
        if home not in Path(found).resolve().parents:
            raise ImportError(
                f"{found} hides the package {name!r} of reelqueue. Start the parts of the service "
                "with `reelqueue worker` and `reelqueue flower`, which work in every folder. A "
                f"program with its own package {name!r} submits by Celery's send_task or by HTTP.",
                name=name,
                path=found,
            )


_check_sibling_packages()
