"""The Hub's real client against a stand-in for the Hub: endpoint, token, offline switch, listing, gated models."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import time

import pytest

from tundish.sources.errors import SourceRefused, SourceUnreachable, WrongContent
from tundish.sources.hub import Hub
from tundish.sources.retry import RetryPolicy

MB = 1_000_000
REPO = "somebody/noise-GGUF"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = "Noise-Q8_0.gguf"
LISTING = f"/api/models/{REPO}/revision/main"


@pytest.fixture
def repository(server) -> dict[str, bytes]:
    """Serves a repository with a model, a projector and a readme, as the Hub does."""
    files = {FILE: server.gguf(2 * MB), "mmproj-Noise-F16.gguf": server.gguf(MB, 1), "README.md": b"# Noise"}
    publish(server, files)
    return files


def publish(server, files: dict[str, bytes], commit: str = COMMIT) -> None:
    siblings: list[dict[str, object]] = []
    for name, content in files.items():
        sha256 = hashlib.sha256(content).hexdigest()
        entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": sha256[:40]}
        if name.endswith(".gguf"):
            entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
        siblings.append(entry)
        # The Hub answers with a redirect to a store that knows nothing of tokens.
        server.content[f"/store/{sha256}"] = content
        server.behaviours[f"/{REPO}/resolve/{commit}/{name}"].clear()
        server.misbehave(
            f"/{REPO}/resolve/{commit}/{name}",
            *[server.status(302, {"location": f"{server.other_url}/store/{sha256}"})] * 9,
        )
    listing = {
        "id": REPO, "modelId": REPO, "sha": commit, "private": False, "gated": False, "disabled": False,
        "tags": [], "downloads": 0, "likes": 0, "siblings": siblings, "cardData": {"license": "mit"},
    }  # fmt: skip
    server.behaviours[LISTING].clear()
    body = json.dumps(listing).encode()
    server.misbehave(LISTING, *[server.status(200, {"content-type": "application/json"}, body)] * 9)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_a_repository_is_added_and_pulled(server, repository, library, tundish_model) -> None:
    environment = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_secret"}
    code, out, err = finish(tundish_model("add", f"{REPO}:Q8_0", "--json", **environment))
    assert code == 0, err
    card = json.loads(out)
    assert (card["publisher"], card["name"], card["licence"]) == ("somebody", "noise", "mit")
    [variant] = card["variants"]
    assert variant["files"] == [
        {"path": FILE, "size_bytes": len(repository[FILE]), "sha256": hashlib.sha256(repository[FILE]).hexdigest()}
    ]
    server.misbehave(f"/store/{hashlib.sha256(repository[FILE]).hexdigest()}", server.cut_after(500_000))
    code, _, err = finish(tundish_model("pull", "noise", **environment))
    assert code == 0, err
    assert library.resolve("noise").read_bytes() == repository[FILE]
    asked = {asked.path.split("/")[1]: asked.headers.get("authorization") for asked in server.asked}
    assert asked["api"] == asked["somebody"] == "Bearer hf_secret"
    assert asked["store"] is None
    assert [asked.start for asked in server.asked if asked.path.startswith("/store")] == [0, 500_000]


def test_patterns_find_the_file_whatever_its_letters_are(server, repository, library, tundish_model) -> None:
    library.folders.cards.mkdir()
    (library.folders.cards / "mine.toml").write_text(f"""
        [[models]]
        publisher = "mine"
        name = "noise"
        version = "1"
        licence = "mit"
        [[models.variants]]
        id = "q8"
        format = "gguf"
        quantisation = "q8_0"
        source = {{ kind = "hub", repo = "{REPO}", include = ["noise-q8_0*.gguf"] }}
    """)
    code, _, err = finish(tundish_model("pull", "noise", HF_ENDPOINT=server.url))
    assert code == 0, err
    model = library.find("noise")
    assert [(file.path, file.basis.value) for file in model.manifest.files] == [(FILE, "source")]
    # The repository moves on: what is here stays, and what was pinned is not silently replaced.
    library.remove("noise")
    publish(server, {FILE: server.gguf(2 * MB, 9)}, commit="f" * 40)
    code, _, err = finish(tundish_model("pull", "noise", HF_ENDPOINT=server.url))
    assert code == 1
    assert "--update" in err
    code, _, err = finish(tundish_model("pull", "--update", "noise", HF_ENDPOINT=server.url))
    assert code == 0, err


@pytest.mark.parametrize("lie", ["size", "content"])
def test_a_hub_that_lies_about_a_file(server, repository, library, tundish_model, lie: str) -> None:
    code, _, err = finish(tundish_model("add", REPO, HF_ENDPOINT=server.url))
    assert code == 0, err
    [store] = [path for path, content in server.content.items() if content == repository[FILE]]
    server.content[store] = repository[FILE][:-1] + (b"" if lie == "size" else b"!")
    code, _, err = finish(tundish_model("pull", "noise", HF_ENDPOINT=server.url))
    assert code == 1
    assert {"size": "but must have", "content": "thrown away"}[lie] in err
    assert not library.cache.contents().models
    server.content[store] = repository[FILE]
    code, _, err = finish(tundish_model("pull", "noise", HF_ENDPOINT=server.url))
    assert code == 0, err


def test_the_hubs_own_offline_switch_is_honoured(server, repository, library, tundish_model) -> None:
    code, _, err = finish(tundish_model("add", REPO, HF_ENDPOINT=server.url, HF_HUB_OFFLINE="1"))
    assert code == 1
    assert "HF_HUB_OFFLINE" in err
    code, _, err = finish(tundish_model("add", REPO, HF_ENDPOINT=server.url, TUNDISH_OFFLINE="1"))
    assert code == 1
    assert "TUNDISH_OFFLINE" in err
    assert not server.asked


def test_the_token_file_and_a_mirror_are_honoured(server, repository, library, tundish_model, tmp_path) -> None:
    (tmp_path / "token").write_text("hf_from_file\n")
    environment = {"HF_ENDPOINT": server.url, "HF_TOKEN_PATH": str(tmp_path / "token")}
    code, _, err = finish(tundish_model("add", REPO, **environment))
    assert code == 0, err
    assert [(asked.path, asked.headers.get("authorization")) for asked in server.asked] == [
        (LISTING, "Bearer hf_from_file")
    ]
    server.asked.clear()
    code, _, err = finish(tundish_model("pull", "noise", HF_HUB_DISABLE_IMPLICIT_TOKEN="1", **environment))
    assert code == 0, err
    assert {asked.headers.get("authorization") for asked in server.asked} == {None}


@pytest.fixture
def hub(server) -> Hub:
    policy = RetryPolicy(attempts=3, first_delay_s=0.001, max_delay_s=0.01, max_retry_after_s=0.05)
    return Hub(endpoint=server.url, policy=policy)


async def test_a_busy_hub_is_asked_again(server, repository, hub: Hub) -> None:
    honest = server.behaviours[LISTING].popleft()
    server.behaviours[LISTING].clear()
    server.misbehave(LISTING, server.status(429, {"retry-after": "86400"}), server.status(503), honest)
    listing = await hub.list_files(REPO)
    assert [file.path for file in listing.files if file.path.endswith(".gguf")] == [FILE, "mmproj-Noise-F16.gguf"]
    assert listing.commit == COMMIT
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_a_hub_that_stays_broken_is_given_up(server, hub: Hub, code: int) -> None:
    server.usually = server.status(code)
    with pytest.raises(SourceUnreachable, match=f"did not list {REPO}: it answered {code}"):
        await hub.list_files(REPO)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("code", "headers", "told"),
    [
        (401, {"x-error-code": "GatedRepo"}, "gated"),
        (403, {"x-error-code": "GatedRepo"}, "gated"),
        (404, {"x-error-code": "RepoNotFound"}, "no repository"),
        (404, {"x-error-code": "RevisionNotFound"}, "with the revision main"),
        (401, {}, "Is your token valid"),
        (418, {}, "answered 418"),
    ],
)
async def test_what_the_hub_refuses_is_told_at_once(server, hub: Hub, code: int, headers, told: str) -> None:
    server.usually = server.status(code, {"content-type": "application/json", **headers}, b"{}")
    with pytest.raises(SourceRefused, match=told):
        await hub.list_files(REPO)
    assert len(server.asked) == 1


async def test_a_login_page_is_not_taken_for_the_hub(server, hub: Hub) -> None:
    page = b"<!doctype html><title>Welcome to our network</title>"
    server.usually = server.status(200, {"content-type": "text/html"}, page)
    with pytest.raises(WrongContent, match="not the Hub"):
        await hub.list_files(REPO)


async def test_a_hub_that_resets_the_connection(server, hub: Hub) -> None:
    async def reset(answer) -> None:
        answer.writer.transport.abort()

    server.usually = reset
    with pytest.raises(SourceUnreachable, match="did not list"):
        await hub.list_files(REPO)


async def test_a_hub_that_stalls_does_not_hold_up_who_gives_up(server, hub: Hub) -> None:
    async def never(_) -> None:
        await asyncio.sleep(3600)

    server.usually = never
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await hub.list_files(REPO)
    assert time.monotonic() - began_s < 10  # the client's own limit is twice that


def test_a_hub_that_is_not_there(server, library, tundish_model) -> None:
    exit_code, _, err = finish(tundish_model("add", REPO, HF_ENDPOINT="http://127.0.0.1:9"))
    assert exit_code == 1
    assert "did not list" in err
