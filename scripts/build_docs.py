"""Write the pages of docs/ that are made from the code: `python scripts/build_docs.py`."""

from __future__ import annotations

from pathlib import Path

from tundish import settings

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Write each generated page."""
    (DOCS / "settings.md").write_text(settings.documentation(), encoding="utf-8")


if __name__ == "__main__":
    main()
