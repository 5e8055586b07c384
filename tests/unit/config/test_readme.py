"""The first configuration that a newcomer copies is right."""

from __future__ import annotations

import re
from pathlib import Path

from tundish.config.loader import loads

README = Path(__file__).parents[3] / "README.md"


def test_the_readmes_site_is_valid_and_says_what_the_text_says() -> None:
    found = re.search(r"```toml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert found is not None
    site = loads(found[1])
    assert not site.warnings
    places = site.table.policy.allowed("confidential", [d.place for d in site.table.deployments.values()])
    assert places == {site.table.deployments["here"].place.name}
