"""Objects that are added beside a file: through the real API and its real client, kept in a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tundish.access.endpoint_file import EndpointRecord
from tundish.access.keys import KeyRing
from tundish.api.application import Application
from tundish.api.guard import Guard
from tundish.api.metrics import Metrics
from tundish.api.site import SiteObjects
from tundish.app.site_objects import ConfiguredObjects
from tundish.cli.endpoint import EndpointClient
from tundish.cli.main import main
from tundish.config.errors import ConfigInvalid
from tundish.config.site import SiteConfig
from tundish.core.clock import SystemClock
from tundish.core.errors import BackendError, InvalidRequest, NotFound, TundishError
from tundish.dispatch.dispatcher import Dispatcher
from tundish.http.server import HttpServer
from tundish.store.database import Database
from tundish.store.errors import StoreUnavailable
from tundish.store.site_objects import SiteObjectStore

KEY = "td-test-key"
FILE = """\
[places.rack]
reach = "site"
[deployments.near]
backend = "vllm"
model = "gpt-oss-120b"
base_url = "http://10.0.0.7:8000/v1"
place = "rack"
auth = { api_key = { env = "RACK_KEY" } }
price = { input = 1, output = 2, dated = 2026-11-01 }
[routes.file-route]
deployments = ["near"]
"""
ROUTE = {"mode": "latency", "deployments": ["near"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tundish.toml"
    path.write_text(FILE)
    return path


def objects_at(path: Path, in_force: list[SiteConfig] | None = None) -> ConfiguredObjects:
    async def put_in_force(site: SiteConfig) -> None:
        if in_force is not None:
            in_force.append(site)

    return ConfiguredObjects(path, SiteObjectStore(Database(path.with_name("store.sqlite3"))), put_in_force)


@asynccontextmanager
async def serving(objects: SiteObjects) -> AsyncGenerator[SiteObjects, None]:
    """What a client of an endpoint with `objects` sees."""
    metrics, clock = Metrics(), SystemClock()
    application = Application(
        dispatcher=Dispatcher(backends={}, observer=metrics, clock=clock),
        keys=KeyRing.of_owner(KEY, key_id="test"),
        guard=Guard(host="127.0.0.1"),
        metrics=metrics,
        stop=lambda: None,
        clock=clock,
        site_objects=objects,
    )
    server = HttpServer(application, refuse=application.refuse, admit=application.admit)
    port = await server.listen("127.0.0.1", 0)
    record = EndpointRecord(
        url=f"http://127.0.0.1:{port}", pid=0, started_s=0.0, version="", key_file=None, key_required=True
    )
    client = EndpointClient(record, KEY)
    try:
        yield client.site_objects
    finally:
        client.close()
        await server.close()


async def named(objects: SiteObjects, kind: str) -> Sequence[tuple[str, str]]:
    return [(item.name, item.origin) for item in await objects.list(kind)]


async def test_a_round_trip(path: Path) -> None:
    in_force: list[SiteConfig] = []
    async with serving(objects_at(path, in_force)) as site:
        added = await site.add("routes", "team/fast", ROUTE)
        assert (added.origin, added.fields) == ("added", ROUTE)
        assert await site.show("routes", "team/fast") == added
        assert await named(site, "routes") == [("file-route", "file"), ("team/fast", "added")]
        assert in_force[-1].table.routes["team/fast"].members[0].deployment == "near"
        await site.remove("routes", "team/fast")
        assert await named(site, "routes") == [("file-route", "file")]
        assert "team/fast" not in in_force[-1].table.routes


async def test_it_is_still_there_after_a_restart(path: Path) -> None:
    async with serving(objects_at(path)) as site:
        await site.add("routes", "fast", ROUTE)
    assert "fast" in (await objects_at(path).load()).table.routes


async def test_places_that_follow_from_an_sku_are_listed(path: Path) -> None:
    async with serving(objects_at(path)) as site:
        cloud = {
            "backend": "azure",
            "model": "gpt-4.1",
            "base_url": "https://a.openai.azure.com",
            "sku": "DataZoneStandard",
            "region": "swedencentral",
        }
        await site.add("deployments", "cloud", cloud)
        assert await named(site, "places") == [("azure-eu", "implied"), ("device", "implied"), ("rack", "file")]


async def test_what_a_file_has_is_shown_with_references(path: Path) -> None:
    async with serving(objects_at(path)) as site:
        fields = (await site.show("deployments", "near")).fields
    assert fields["auth"] == {"api_key": {"env": "RACK_KEY"}}
    assert fields["price"]["dated"] == "2026-11-01"


async def refused(error: type[TundishError], match: str, call: Coroutine[object, object, object]) -> None:
    with pytest.raises(error, match=match):
        await call


async def test_refusals(path: Path) -> None:
    in_force: list[SiteConfig] = []
    async with serving(objects_at(path, in_force)) as site:
        await refused(InvalidRequest, "already", site.add("routes", "file-route", ROUTE))
        await refused(InvalidRequest, "no deployment 'nowhere'", site.add("routes", "r", {"deployments": ["nowhere"]}))
        await refused(InvalidRequest, "A deployment has this name", site.add("routes", "near", ROUTE))
        await refused(InvalidRequest, "A name must be", site.add("routes", "a b", ROUTE))
        await refused(InvalidRequest, "must not stand", site.add("deployments", "d", {
            "backend": "vllm", "model": "m", "base_url": "http://h", "place": "rack", "auth": {"api_key": "hunter2"},
        }))  # fmt: skip
        await refused(NotFound, "is in the file", site.remove("routes", "file-route"))
        await refused(NotFound, "Nothing called", site.remove("routes", "x"))
        await refused(NotFound, "Did you mean 'file-route'", site.show("routes", "file-rout"))
        assert not in_force
        await site.add("deployments", "extra", {"backend": "local", "model": "gpt-oss-20b"})
        await site.add("routes", "uses-it", {"deployments": ["extra"]})
        await refused(InvalidRequest, "uses-it", site.remove("deployments", "extra"))
        assert len(in_force) == 2


async def test_a_file_that_has_become_wrong_refuses_additions(path: Path) -> None:
    objects = objects_at(path)
    await asyncio.to_thread(path.write_text, FILE + "[routs]\n")
    with pytest.raises(ConfigInvalid, match=r"tundish\.toml:12: routs"):
        await objects.add("routes", "fast", ROUTE)
    await asyncio.to_thread(path.write_text, FILE)
    assert await named(objects, "routes") == [("file-route", "file")]


async def test_what_cannot_be_put_in_force_is_not_kept(path: Path) -> None:
    async def fail(_: SiteConfig) -> None:
        raise BackendError("no secret")

    objects = ConfiguredObjects(path, SiteObjectStore(Database(path.with_name("store.sqlite3"))), fail)
    with pytest.raises(BackendError):
        await objects.add("routes", "fast", ROUTE)
    assert await named(objects, "routes") == [("file-route", "file")]


async def test_a_damaged_store_is_told(path: Path) -> None:
    path.with_name("store.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailable, match="is damaged"):
        await objects_at(path).add("routes", "fast", ROUTE)


async def test_additions_at_the_same_time(path: Path) -> None:
    in_force: list[SiteConfig] = []
    objects = objects_at(path, in_force)
    await asyncio.gather(*(objects.add("routes", f"r{number}", ROUTE) for number in range(8)))
    assert len(in_force[-1].table.routes) == 9


@pytest.fixture
def command_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"TUNDISH_{name}_DIR", str(path.parent / name.lower()))
    monkeypatch.setenv("TUNDISH_CONFIG", str(path))
    monkeypatch.delenv("RACK_KEY", raising=False)


@pytest.mark.usefixtures("command_line")
def test_the_command_line(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields = ["mode=cost", 'deployments=["near"]', "shadow.deployment=near", "shadow.share=0.5"]
    assert main(["route", "add", "fast", *fields]) == 0
    assert main(["route", "show", "fast"]) == 0
    assert 'shadow = { deployment = "near", share = 0.5 }' in capsys.readouterr().out
    assert main(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert "[routes.fast]" in shown
    assert '{ env = "RACK_KEY" }' in shown
    fragment = path.with_name("place.toml")
    fragment.write_text('reach = "site"\n')
    assert main(["place", "add", "lab", "owner=acme", "--from", str(fragment)]) == 0
    assert main(["place", "list"]) == 0
    assert "lab" in capsys.readouterr().out
    assert main(["route", "remove", "fast"]) == 0
    assert main(["route", "add", "bad", "deployments=near"]) == 1
    assert "must be an array" in capsys.readouterr().err
    assert main(["route", "add", "bad", "deployments"]) == 1
    assert "must be KEY=VALUE" in capsys.readouterr().err


@pytest.mark.usefixtures("command_line")
def test_config_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check"]) == 0
    assert "valid. 2 places, 1 deployments, 1 routes" in capsys.readouterr().out
    assert main(["config", "check", "--secrets"]) == 1
    assert f"{path}:8: deployments.near.auth.api_key" in capsys.readouterr().err
    path.write_text(FILE + "[routs]\nx = [\n")
    assert main(["config", "check", "--json"]) == 1
    assert '"line": 13' in capsys.readouterr().out
    path.write_text(FILE + '[routs]\n[policy]\ndefault_class = "x"\n')
    assert main(["config", "check"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in told] == [f"{path}:12", f"{path}:14", ""]
    assert told[-1] == "2 errors."


def test_a_file_that_happens_to_lie_here_is_not_read(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNDISH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(path.parent)
    assert main(["config", "check"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("No file: valid.")
    assert "./tundish.toml is not read" in told.err
    assert main(["config", "check", "tundish.toml"]) == 0
    assert "1 deployments" in capsys.readouterr().out
