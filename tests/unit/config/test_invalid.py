"""Whatever is wrong with a file is told with its line, all at once, and never with a secret in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tundish.config.errors import ConfigInvalid
from tundish.config.loader import load, loads

BASE = """\
[places.rack]
reach = "site"
[deployments.near]
backend = "local"
model = "gpt-oss-20b"
[deployments.far]
backend = "vllm"
model = "gpt-oss-120b"
base_url = "http://10.0.0.7:8000/v1"
place = "rack"
"""
AZURE = """\
[deployments.cloud]
backend = "azure"
model = "gpt-4.1"
base_url = "https://acme.openai.azure.com"
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Wrong:
    """A text and the errors it must give: line, what the message has to contain."""

    name: str
    text: str
    errors: tuple[tuple[int | None, str], ...]


def one(name: str, text: str, line: int | None, message: str) -> Wrong:
    return Wrong(name, text, ((line, message),))


def after_base(name: str, text: str, line: int, message: str) -> Wrong:
    """`line` counts from the first line behind BASE."""
    return one(name, BASE + text, BASE.count("\n") + line, message)


TABLE = [
    # TOML itself
    one("no value", "a =", 1, "This is not TOML"),
    one("a bracket open", "x = 1\n[policy", 2, "This is not TOML"),
    one("a key twice", '[site]\nname = "a"\nname = "b"', 3, "This is not TOML"),
    one("a table twice", "[site]\n[site]", 2, "This is not TOML"),
    one("a number of many digits", "x = " + "9" * 5000, None, "a number is too long"),
    # keys
    one("an unknown table", "[deployment.a]", 1, "deployment: There is no such key. Did you mean 'deployments'?"),
    one("an unknown key", '[site]\nnames = "a"', 2, "site.names: There is no such key. Did you mean 'name'?"),
    one("nothing near", "[site]\nqqq = 1", 2, "Known here: name."),
    one("a table that is none", "site = 3", 1, "site: must be a table, not 3."),
    one("a name that is none", '[site]\nname = "a b"', 2, "must be letters, digits"),
    one("an array of tables that is a table", "[prices]\nmodel = 1", 1, "prices: must be an array, not a table."),
    one("a table among arrays", "prices = [1]", 1, "prices.0: must be a table, not 1."),
    # places
    one("a reach that is none", '[places.a]\nreach = "planet"', 2, "'planet' is not one of device, site"),
    one("a reach misspelt", '[places.a]\nreach = "sight"', 2, "Did you mean 'site'?"),
    one("no reach", '[places.a]\nowner = "x"', 1, "'reach' is missing"),
    one("a geography in small letters", '[places.a]\nreach = "site"\ngeography = "de"', 3, "capitals"),
    one("the device elsewhere", '[places.device]\nreach = "global"', 2, "always 'device'"),
    one("a colon in a place", '[places."reach:site"]\nreach = "global"', 1, "holds no ':'"),
    one("a space in a place", '[places."a b"]\nreach = "site"', 1, "A name must be"),
    # policy
    one("no default class", '[policy]\nclasses = ["a", "b"]', 1, "'default_class' is missing"),
    one("a default class that is none", '[policy]\ndefault_class = "secret"', 2, "'secret' is not one of public"),
    one("a class twice", '[policy]\nclasses = ["a", "a"]\ndefault_class = "a"', 2, "in the list twice"),
    one("no classes", '[policy]\nclasses = []\ndefault_class = "public"', 2, "at least one class"),
    one("classes that are none", '[policy]\nclasses = "a"\ndefault_class = "public"', 2, "an array of texts"),
    one(
        "a rule for an unknown class",
        '[policy]\ndefault_class = "public"\n[[policy.rules]]\nclass = "internel"\nplaces = ["*"]',
        4,
        "There is no data class 'internel'. Did you mean 'internal'?",
    ),
    one(
        "a rule for an unknown place",
        '[policy]\ndefault_class = "public"\n[[policy.rules]]\nclass = "public"\nplaces = [\n  "device",\n  "rok",\n]',
        7,
        "There is no place 'rok'",
    ),
    one(
        "a selector of no reach",
        '[policy]\ndefault_class = "public"\n[[policy.rules]]\nclass = "public"\nplaces = ["reach:zite"]',
        5,
        "'zite' is no reach",
    ),
    one(
        "a selector of nothing",
        '[policy]\ndefault_class = "public"\n[[policy.rules]]\nclass = "public"\nplaces = ["geography:"]',
        5,
        "says no geography",
    ),
    one(
        "a rule without places", '[policy]\ndefault_class = "public"\n[[policy.rules]]\nclass = "public"', 3, "'places'"
    ),
    # deployments
    one("no backend", '[deployments.a]\nmodel = "m"', 1, "'backend' is missing"),
    one("an unknown backend", '[deployments.a]\nbackend = "azur"\nmodel = "m"', 2, "Did you mean 'azure'?"),
    one("no model", '[deployments.a]\nbackend = "local"', 1, "'model' is missing"),
    one(
        "a key of another backend", '[deployments.a]\nbackend = "local"\nmodel = "m"\nbase_url = "x"', 4, "no such key"
    ),
    one("slots as text", '[deployments.a]\nbackend = "local"\nmodel = "m"\nslots = "4"', 4, "a whole number from 1 to"),
    one("slots as truth", '[deployments.a]\nbackend = "local"\nmodel = "m"\nslots = true', 4, "not true"),
    one("too many slots", '[deployments.a]\nbackend = "local"\nmodel = "m"\nslots = 257', 4, "not 257"),
    one(
        "a local model far away",
        '[deployments.a]\nbackend = "local"\nmodel = "m"\nplace = "moon"',
        4,
        "no place 'moon'",
    ),
    one(
        "a local model in a zone",
        '[places.eu]\nreach = "zone"\n[deployments.a]\nbackend = "local"\nmodel = "m"\nplace = "eu"',
        6,
        "a local model runs on this machine",
    ),
    one("no base_url", '[deployments.a]\nbackend = "vllm"\nmodel = "m"\nplace = "device"', 1, "'base_url' is missing"),
    one(
        "no place", '[deployments.a]\nbackend = "vllm"\nmodel = "m"\nbase_url = "http://h/v1"', 1, "'place' is missing"
    ),
    one(
        "the device elsewhere again",
        '[deployments.a]\nbackend = "vllm"\nmodel = "m"\nbase_url = "http://10.1.1.1/v1"\nplace = "device"',
        5,
        "10.1.1.1 is not this device",
    ),
    one(
        "a public service at home",
        '[places.rack]\nreach = "site"\n[deployments.a]\nbackend = "openai_compatible"\nmodel = "m"\nplace = "rack"\n'
        'base_url = "https://api.groq.com/openai/v1"',
        6,
        "is a public service",
    ),
    one(
        "an sku outside Azure",
        '[deployments.a]\nbackend = "vllm"\nmodel = "m"\nbase_url = "http://127.0.0.1/v1"\nplace = "device"\nsku = "S"',
        6,
        "on Azure only",
    ),
    one("Azure without an SKU", AZURE, 1, "'sku' is missing"),
    one("an unknown SKU", AZURE + 'sku = "GlobalStandart"', 5, "GlobalStandart"),
    one("an SKU without its region", AZURE + 'sku = "DataZoneStandard"', 5, "Add the region"),
    one("an unknown region", AZURE + 'sku = "Standard"\nregion = "swedncentral"', 5, "Did you mean 'swedencentral'?"),
    one(
        "a claim that the SKU contradicts",
        '[places.eu]\nreach = "zone"\ngeography = "EU"\n'
        + AZURE
        + 'sku = "GlobalStandard"\nregion = "swedencentral"\nplace = "eu"',
        10,
        "'eu' is zone EU, but the SKU GlobalStandard computes in global of microsoft",
    ),
    one(
        "an owner that Azure contradicts",
        '[places.ours]\nreach = "global"\nowner = "acme"\n' + AZURE + 'sku = "GlobalStandard"\nplace = "ours"',
        9,
        "computes in global of microsoft",
    ),
    one(
        "Azure under another profile",
        '[places.rack]\nreach = "site"\n[deployments.a]\nbackend = "openai_compatible"\nmodel = "m"\nplace = "rack"\n'
        'base_url = "https://x.openai.azure.com/openai/v1"',
        3,
        "'sku' is missing",
    ),
    one(
        "a place of the SKU's name that is another",
        '[places.azure-global]\nreach = "site"\n' + AZURE + 'sku = "GlobalStandard"',
        7,
        "Rename that one",
    ),
    # what leads there
    after_base(
        "a password in an address",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\nbase_url = "http://me:hunter2@h/v1"',
        5,
        "must hold no user and password",
    ),
    after_base(
        "an address that is none",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\nbase_url = "h:80/v1"',
        5,
        "must be an address such as",
    ),
    after_base(
        "a query in an address",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\nbase_url = "http://h/v1?api-version=1"',
        5,
        "must end before '?'",
    ),
    after_base("a key in the file", '[keys.k]\nkey = "hunter2hunter2"', 2, "must not stand in the configuration"),
    after_base(
        "auth as a text",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\nbase_url = "http://h/v1"\nauth = "hunter2"',
        6,
        "must be a table such as",
    ),
    after_base(
        "auth that is a key",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\n'
        'base_url = "http://h/v1"\nauth = { api_key = "hunter2" }',
        6,
        "must not stand",
    ),
    after_base(
        "a header with a secret",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\n'
        'base_url = "http://h/v1"\n[deployments.x.headers]\nAuthorization = "Bearer hunter2"',
        7,
        "must not stand",
    ),
    after_base(
        "a header of ours",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\n'
        'base_url = "http://h/v1"\n[deployments.x.headers]\nHost = "h"',
        7,
        "set by Tundish itself",
    ),
    after_base(
        "a proxy with a password", '[connections]\nproxy = "http://me:hunter2@proxy:3128"', 2, "hold no password"
    ),
    after_base(
        "two ways in",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\nbase_url = "http://h/v1"\n'
        'auth = { api_key = { env = "A" }, bearer = { env = "B" } }',
        6,
        "must have one of",
    ),
    after_base("a key called as the owner's", '[keys.generated]\nkey = { env = "A" }', 1, "endpoint's own key"),
    after_base("a reference of two kinds", '[keys.k]\nkey = { env = "A", file = "b" }', 2, "has one key"),
    after_base("a reference to nothing", '[keys.k]\nkey = { env = "hunter2 hunter2" }', 2, "name of an environment"),
    after_base(
        "a vault without https",
        '[keys.k]\nkey = { azure_key_vault = "http://v/secrets/n" }',
        2,
        "must be https://VAULT",
    ),
    after_base(
        "a client secret alone",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\n'
        'base_url = "http://h/v1"\nauth = { entra_id = { client_secret = { env = "A" } } }',
        6,
        "needs 'tenant_id'",
    ),
    after_base("a CA file that is not there", '[connections]\nca_file = "nowhere.pem"', 2, "There is no file"),
    after_base("a time-out of nothing", "[timeouts]\nconnect_s = 0", 2, "a number above 0"),
    after_base("a time-out that is none", "[timeouts]\ntotal_s = nan", 2, "a number above 0"),
    after_base(
        "an api_version where there is none",
        '[deployments.x]\nbackend = "vllm"\nmodel = "m"\nplace = "rack"\nbase_url = "http://h/v1"\napi_version = "1"',
        6,
        "has no such thing",
    ),
    # prices
    after_base("a price without an end", '[[prices]]\nmodel = "m"\ninput = 1', 1, "'output' is missing"),
    after_base("a price below zero", '[[prices]]\nmodel = "m"\ninput = -1\noutput = 1', 3, "a number from 0"),
    after_base("a price too fine", '[[prices]]\nmodel = "m"\ninput = 0.0001\noutput = 1', 3, "a multiple of 0.001"),
    after_base(
        "a day that is none", '[[prices]]\nmodel = "m"\ninput = 1\noutput = 1\ndated = "May"', 5, "a day such as"
    ),
    after_base(
        "a price twice",
        '[[prices]]\nmodel = "m"\ninput = 1\noutput = 1\n[[prices]]\nmodel = "m"\ninput = 1\noutput = 1',
        6,
        "given twice",
    ),
    # routes
    after_base("a route to nowhere", '[routes.r]\ndeployments = ["nera"]', 2, "Did you mean 'near'?"),
    after_base("a route without deployments", "[routes.r]\nsticky = true", 1, "'deployments' is missing"),
    after_base("a route with none", "[routes.r]\ndeployments = []", 2, "at least one deployment"),
    after_base("a member twice", '[routes.r]\ndeployments = ["near", "near"]', 2, "in the list twice"),
    after_base("a weight of nothing", '[routes.r]\ndeployments = [{ name = "near", weight = 0 }]', 2, "above 0"),
    after_base("a member that is none", "[routes.r]\ndeployments = [3]", 2, "not 3"),
    after_base("a mode that is none", '[routes.r]\ndeployments = ["near"]\nmode = "cheap"', 3, "'cheap' is not one of"),
    after_base(
        "a route called as a deployment", '[routes.near]\ndeployments = ["far"]', 1, "A deployment has this name"
    ),
    after_base("a baseline that is none", '[routes.r]\ndeployments = ["near"]\nbaseline = "x"', 3, "no deployment 'x'"),
    after_base(
        "a shadow without a share",
        '[routes.r]\ndeployments = ["near"]\nshadow = { deployment = "far" }',
        3,
        "'share' is missing",
    ),
    after_base(
        "a share above all",
        '[routes.r]\ndeployments = ["near"]\nshadow = { deployment = "far", share = 1.1 }',
        3,
        "not 1.1",
    ),
    after_base(
        "a class that is none", '[routes.r]\ndeployments = ["near"]\ndefault_class = "x"', 3, "no data class 'x'"
    ),
    # who asks, and the rest
    after_base(
        "a project that is none", '[projects.a]\n[keys.k]\nkey = { env = "K" }\nproject = "b"', 4, "no project 'b'"
    ),
    after_base("a key without its place", "[keys.k]", 1, "'key' is missing"),
    after_base("one key for two", '[keys.k]\nkey = { env = "K" }\n[keys.l]\nkey = { env = "K" }', 4, "Whose request"),
    after_base("a project's class", '[projects.a]\ndata_class = "x"', 2, "no data class 'x'"),
    after_base("receipts that are none", '[receipts]\nwhen_unwritable = "ignore"', 2, "not one of refuse, continue"),
    after_base("a backoff upside down", "[retries]\nbackoff_first_s = 5\nbackoff_limit_s = 1", 3, "must not be below"),
    after_base("no attempts", "[retries]\nattempts = 0", 2, "from 1 to 20"),
    after_base("a breaker that never closes", "[breaker]\nsuccesses = 0", 2, "from 1 to"),
]


@pytest.mark.parametrize("wrong", TABLE, ids=lambda wrong: wrong.name)
def test_wrong(wrong: Wrong) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        loads(wrong.text)

    assert len(caught.value.errors) == len(wrong.errors), str(caught.value)
    for error, (line, message) in zip(caught.value.errors, wrong.errors, strict=True):
        assert message in str(error)
        assert error.line == line, str(error)
        assert str(error).startswith("tundish.toml:")
    assert "hunter2" not in str(caught.value)


def test_all_at_once_in_the_order_of_lines() -> None:
    text = (
        '[routes.r]\ndeployments = ["x"]\nmode = 7\n[deployments.a]\nbackend = "local"\nmodel = "m"\nslot = 3\n'
        '[places.p]\nreach = 1\n[policy]\ndefault_class = "z"\n'
    )
    with pytest.raises(ConfigInvalid) as caught:
        loads(text)
    assert [error.line for error in caught.value.errors] == [2, 3, 7, 9, 11]
    assert [error.where for error in caught.value.errors] == [
        "routes.r.deployments.0",
        "routes.r.mode",
        "deployments.a.slot",
        "places.p.reach",
        "policy.default_class",
    ]
    assert str(caught.value).count("\n") == 4


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"nowhere\.toml: The file cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")


def test_a_file_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load(tmp_path)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "tundish.toml"
    path.write_bytes(b"[site]\nname = '\xff\xfe'\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(path)
    assert [(error.line, error.message) for error in caught.value.errors] == [
        (2, "The file is not UTF-8. Save it as UTF-8.")
    ]


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "tundish.toml"
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigInvalid, match="larger than"):
        load(path)
