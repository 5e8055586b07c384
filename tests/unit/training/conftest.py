"""The training's modules import one another by their plain names, as scripts in one folder do."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "training" / "gpt_oss_nano"))
