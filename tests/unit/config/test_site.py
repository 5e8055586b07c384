"""What a good file comes to."""

from __future__ import annotations

import datetime
import math
import re
from pathlib import Path

import pytest

from tundish.catalog.price import Price
from tundish.config import toml_text
from tundish.config.document import ADDED, AddedObject
from tundish.config.errors import ConfigInvalid
from tundish.config.loader import load, loads
from tundish.config.references import references
from tundish.config.secret_reference import Keeper, SecretReference
from tundish.config.site import AuthKind, LocalSpec, RemoteSpec, WhenUnwritable
from tundish.core.place import Place, Reach
from tundish.routing.table import Member, Mode, Shadow

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "tundish.toml"


def test_the_example() -> None:
    site = load(EXAMPLE)

    assert site.warnings == ()
    assert site.name == "acme"
    assert site.places["azure-eu"] == Place(name="azure-eu", reach=Reach.ZONE, owner="microsoft", geography="EU")
    allowed = {name: site.policy.allowed(name, list(site.places.values())) for name in site.policy.classes}
    assert allowed == {
        "public": {"device", "rack", "groq-cloud", "azure-eu"},
        "internal": {"device", "rack", "azure-eu"},
        "confidential": {"device", "rack"},
        "restricted": {"device"},
    }
    table = site.table
    assert table.version == site.version
    assert {name: deployment.place.name for name, deployment in table.deployments.items()} == {
        "laptop": "device",
        "rack-120b": "rack",
        "azure-41": "azure-eu",
        "groq-120b": "groq-cloud",
    }
    assert table.routes["assistant"].mode is Mode.BALANCED
    assert table.routes["assistant"].price_ceiling_usd == 0.10
    bulk = table.routes["bulk"]
    assert bulk.members == (Member(deployment="rack-120b", weight=3), Member(deployment="groq-120b", weight=1))
    assert bulk.shadow == Shadow(deployment="azure-41", share=0.01)
    assert not bulk.sticky
    laptop, rack, azure, groq = (site.backends[name] for name in ("laptop", "rack-120b", "azure-41", "groq-120b"))
    assert laptop == LocalSpec(model="gpt-oss-20b", keep_alive_s=1800.0)
    assert isinstance(rack, RemoteSpec)
    assert isinstance(azure, RemoteSpec)
    assert isinstance(groq, RemoteSpec)
    assert rack.auth.key == SecretReference(keeper=Keeper.FILE, name=str(EXAMPLE.parent / "rack.key"))
    assert (azure.auth.kind, azure.auth.managed_identity) == (AuthKind.ENTRA_ID, True)
    assert (azure.timeouts.connect_s, azure.timeouts.first_token_s, rack.timeouts.first_token_s) == (5, 30, 60)
    assert groq.base_url == "https://api.groq.com/openai/v1"
    assert [reference.name for reference in references(site)][1:] == ["GROQ_API_KEY", "TUNDISH_KEY_SUPPORT"]
    assert site.projects["support"].data_class == "confidential"
    assert site.keys["support-desk"].project == "support"


def test_prices() -> None:
    deployments = load(EXAMPLE).table.deployments
    assert deployments["rack-120b"].price == Price(
        input_nano_usd=20,
        output_nano_usd=110,
        dated=datetime.date(2026, 11, 1),
        source="our own arithmetic",
    )
    local, groq = deployments["laptop"].price, deployments["groq-120b"].price
    assert local is not None
    assert local.output_nano_usd > local.input_nano_usd > 0
    assert groq is not None
    assert (groq.input_nano_usd, groq.output_nano_usd) == (150, 600)


def test_a_price_of_the_sites_own_goes_before_the_shipped_one() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    text += '[[prices]]\nmodel = "gpt-oss-120b"\ninput = 9\noutput = 9\n'
    groq = loads(text).table.deployments["groq-120b"].price
    assert groq is not None
    assert groq.input_nano_usd == 9000
    text += '[[prices]]\nbackend = "groq"\nmodel = "gpt-oss-120b"\ninput = 1\noutput = 9\n'
    groq = loads(text).table.deployments["groq-120b"].price
    assert groq is not None
    assert groq.input_nano_usd == 1000


def test_an_unknown_price_is_unknown() -> None:
    site = loads(
        '[places.p]\nreach = "site"\n[deployments.a]\nbackend = "vllm"\nmodel = "x"\nplace = "p"\nbase_url = "http://h"'
    )
    assert site.table.deployments["a"].price is None


def test_capabilities_are_the_profiles_and_what_is_known_better() -> None:
    text = (
        '[places.p]\nreach = "site"\n[deployments.a]\nbackend = "vllm"\nmodel = "m"\nplace = "p"\n'
        'base_url = "http://h"\ncontext_length = 4096\nrefuses = ["tools", "logit_bias"]\n'
        "capabilities = { logprobs = false }\n"
    )
    site = loads(text)
    spec, known = site.backends["a"], site.table.deployments["a"].capabilities
    assert isinstance(spec, RemoteSpec)
    assert spec.capabilities == known
    assert (known.tools, known.logprobs, known.structured_output, known.context_length) == (False, False, True, 4096)
    assert spec.refuses == {"tools", "logit_bias"}


def test_no_file_is_a_site_where_everything_stays_here() -> None:
    site = load(None)
    here = list(site.places.values())
    assert [place.name for place in here] == ["device"]
    assert all(site.policy.allowed(name, here) == {"device"} for name in site.policy.classes)
    assert (site.table.routes, site.table.deployments, site.keys) == ({}, {}, {})
    assert site.receipts.when_unwritable is WhenUnwritable.REFUSE


def test_without_a_policy_nothing_leaves_the_site() -> None:
    site = loads('[places.far]\nreach = "global"\n[places.rack]\nreach = "site"\n')
    places = list(site.places.values())
    assert {name: site.policy.allowed(name, places) for name in site.policy.classes} == {
        name: {"device", "rack"} for name in site.policy.classes
    }


def test_a_place_that_azures_sku_agrees_with_may_be_named() -> None:
    site = loads(
        '[places.eu]\nreach = "zone"\ngeography = "EU"\n[deployments.a]\nbackend = "azure"\nmodel = "gpt-4.1"\n'
        'base_url = "https://a.openai.azure.com"\nsku = "DataZoneStandard"\nregion = "Sweden Central"\nplace = "eu"\n'
    )
    assert site.table.deployments["a"].place.name == "eu"


def test_the_global_sku_is_global_whatever_the_region_says() -> None:
    site = loads(
        '[deployments.a]\nbackend = "azure"\nmodel = "gpt-4.1"\nbase_url = "https://a.openai.azure.com"\n'
        'sku = "GlobalStandard"\nregion = "germanywestcentral"\n'
    )
    assert site.table.deployments["a"].place.reach is Reach.GLOBAL
    assert site.table.deployments["a"].place.geography == ""


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('[policy]\ndefault_class = "public"\n', "tundish.toml:1: policy: There is no rule"),
        (
            '[policy]\ndefault_class = "public"\n[[policy.rules]]\nclass = "public"\nplaces = ["geography:UE"]\n',
            "tundish.toml:5: policy.rules.0.places.0: No place that is known now",
        ),
        (
            (
                '[places.far]\nreach = "global"\n[deployments.a]\nbackend = "vllm"\nmodel = "m"\nplace = "far"\n'
                'base_url = "http://h"\n[routes.r]\ndeployments = ["a"]\n'
            ),
            "tundish.toml:8: routes.r: None of its deployments is in a place that 'internal' data may go to",
        ),
        (
            '[local_cost]\nwatts = 5\n[deployments.a]\nbackend = "local"\nmodel = "m"\n',
            "tundish.toml:3: deployments.a: Its cost is not known: local_cost has no tariff_usd_per_kwh",
        ),
    ],
)
def test_warnings(text: str, warning: str) -> None:
    (told,) = loads(text).warnings
    assert str(told).startswith(warning)


def test_the_version_is_of_the_content() -> None:
    first = loads('[site]\nname = "a"\n[places.p]\nreach = "site"\n')
    same = loads("# hello\n[places]\np = { reach = \"site\" }\n[site]\nname = 'a'\n")
    other = loads('[site]\nname = "b"\n[places.p]\nreach = "site"\n')
    assert re.fullmatch("[0-9a-f]{64}", first.version)
    assert first.version == same.version != other.version


def test_what_is_shown_is_the_same_site_again() -> None:
    site = load(EXAMPLE)
    shown = loads(toml_text.write(site.content), folder=EXAMPLE.parent)
    assert shown.version == site.version
    assert shown.table == site.table
    assert shown.backends == site.backends


def test_keep_alive() -> None:
    def of(value: str) -> float | None:
        spec = loads(f'[deployments.a]\nbackend = "local"\nmodel = "m"\nkeep_alive = {value}').backends["a"]
        assert isinstance(spec, LocalSpec)
        return spec.keep_alive_s

    assert [of(value) for value in ("90", '"1h30m"', "-1", "0", '"5s"')] == [90, 5400, math.inf, 0, 5]


def test_added_objects_are_checked_with_the_file() -> None:
    fast = AddedObject(kind="routes", name="fast", fields={"mode": "latency", "deployments": ["laptop"]})
    site = load(EXAMPLE, [fast])
    assert site.table.routes["fast"].mode is Mode.LATENCY
    assert site.version != load(EXAMPLE).version

    with pytest.raises(ConfigInvalid) as caught:
        load(EXAMPLE, [AddedObject(kind="routes", name="fast", fields={"deployments": ["nowhere"], "x": None})])
    assert [(error.origin, error.line, error.where) for error in caught.value.errors] == [
        (ADDED, None, "routes.fast.deployments.0"),
        (ADDED, None, "routes.fast.x"),
    ]


def test_an_added_name_that_the_file_has() -> None:
    with pytest.raises(ConfigInvalid, match=r"tundish\.toml:\d+: routes\.bulk: 'bulk' was added at run time, too"):
        load(EXAMPLE, [AddedObject(kind="routes", name="bulk", fields={"deployments": ["laptop"]})])


def test_each_key_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    text = re.sub("^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    sources = (ROOT / "src" / "tundish" / "config").glob("*.py")
    kinds = "text|name|one_of|flag|whole|number|seconds|keep_alive|date|texts|array|table|tables|array_of_tables|secret"
    reads = rf'\.(?:{kinds})\(\s*"(\w+)"'
    keys = {key for source in sources for key in re.findall(reads, source.read_text(encoding="utf-8"))}
    assert len(keys) > 60
    documented = {word for span in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", span)}
    assert keys - documented == set()
