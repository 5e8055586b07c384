"""`python -m benchmarks NAME …` runs the module of that name; without a name it lists them."""

from __future__ import annotations

import pkgutil
import runpy
import sys
from pathlib import Path


def main(argv: list[str]) -> None:
    """Run one benchmark as if it had been started by itself."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    if not argv or argv[0] not in names or argv[0] == "__main__":
        listed = ", ".join(name for name in names if name != "__main__")
        sys.exit(f"usage: python -m benchmarks NAME [options]\nnames: {listed}")
    sys.argv = argv
    runpy.run_module(f"benchmarks.{argv[0]}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
