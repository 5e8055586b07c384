"""The Hugging Face Hub, through its own client, which honours HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and proxies.

The client knows where the Hub is, who the user is, and lists the files with their sizes and hashes. Their bytes are
fetched by `sources.download` like all others: resumed, hashed while they are written. See docs/decisions/006.
"""

from __future__ import annotations

import asyncio
import dataclasses
import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tundish.catalog.card import HubSource, WeightFormat
from tundish.sources.errors import Offline, SourceRefused, SourceUnreachable, WrongContent
from tundish.sources.retry import RETRIED_STATUSES, RetryPolicy, retry_after_s
from tundish.sources.worker import Worker

if TYPE_CHECKING:
    # Imported where it is used: it takes longer to load than the rest of a command.
    from huggingface_hub import ModelInfo

_SPLIT = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)", re.IGNORECASE)
_PART = re.compile(r"-\d{5}-of-(?=\d{5}\.gguf$)", re.IGNORECASE)
_TIMEOUT_S = 20.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """One file of a repository at one commit."""

    path: str
    url: str
    size_bytes: int | None
    sha256: str | None
    """Known for large files only."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HubListing:
    """A repository at one commit."""

    repo: str
    commit: str
    files: tuple[HubFile, ...]
    licence: str | None = None


class _TryAgain(Exception):
    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Hub:
    """The Hub, as the user's environment configures it. `endpoint`: another one than HF_ENDPOINT says."""

    def __init__(self, *, endpoint: str | None = None, policy: RetryPolicy | None = None) -> None:
        self._endpoint = endpoint
        self._policy = policy or RetryPolicy(attempts=4)

    async def list_files(self, repo: str, revision: str = "main") -> HubListing:
        """Every file of the repository.

        Raises:
            Offline: HF_HUB_OFFLINE is set.
            SourceRefused: no such repository or revision, or a gated one.
            SourceUnreachable: no answer.
            WrongContent: an answer, but not the Hub's.
        """
        worker = Worker("tundish-hub")
        try:
            failures = 0
            while True:
                try:
                    return await worker.do(self._list_files, repo, revision)
                except _TryAgain as failure:
                    failures += 1
                    if failures >= self._policy.attempts:
                        raise SourceUnreachable(f"The Hugging Face Hub did not list {repo}: {failure}") from None
                    await asyncio.sleep(self._policy.delay_s(failures, failure.retry_after_s))
        finally:
            worker.close()

    def _list_files(self, repo: str, revision: str) -> HubListing:
        import huggingface_hub
        from huggingface_hub import constants, errors

        # Nothing is asked for but the listing. The client would first fetch a list of assistants to look for in the
        # environment, to tell the Hub which one it runs under.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        api = huggingface_hub.HfApi(endpoint=self._endpoint)
        try:
            info = api.model_info(repo, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
        except errors.OfflineModeIsEnabled:
            raise Offline("the Hugging Face Hub (HF_HUB_OFFLINE)") from None
        except errors.GatedRepoError as error:
            raise SourceRefused(
                f"{repo} is gated: accept its terms on its page on the Hub, then log in with `hf auth login` or set "
                "HF_TOKEN."
            ) from error
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
            raise SourceRefused(
                f"The Hub has no repository {repo} with the revision {revision}, or shows it to nobody without a token."
            ) from error
        except errors.HfHubHTTPError as error:
            status, headers = error.response.status_code, error.response.headers
            if status in RETRIED_STATUSES:
                wait_s = retry_after_s(headers.get("retry-after"))
                raise _TryAgain(f"it answered {status}", retry_after_s=wait_s) from error
            hint = " Is your token valid? See `hf auth whoami`." if status in (401, 403) else ""
            raise SourceRefused(f"The Hugging Face Hub does not list {repo}: it answered {status}.{hint}") from error
        except json.JSONDecodeError as error:
            raise WrongContent(
                f"What answers for the Hugging Face Hub is not the Hub: no list of files of {repo} came. A proxy or a "
                "login page of this network may stand between, or HF_ENDPOINT is wrong."
            ) from error
        except Exception as error:
            # The client lets through whatever its HTTP library raises, and that library has changed twice.
            raise _TryAgain(str(error) or type(error).__name__) from error
        return self._listing(repo, info)

    def _listing(self, repo: str, info: ModelInfo) -> HubListing:
        from huggingface_hub import hf_hub_url

        commit = info.sha or ""
        files = tuple(
            HubFile(
                path=file.rfilename,
                url=hf_hub_url(repo, file.rfilename, revision=commit or None, endpoint=self._endpoint),
                size_bytes=file.size,
                sha256=file.lfs.sha256 if file.lfs else None,
            )
            for file in info.siblings or ()
        )
        licence: object = info.card_data.get("license") if info.card_data else None
        return HubListing(repo=repo, commit=commit, files=files, licence=licence if isinstance(licence, str) else None)

    def headers(self) -> Mapping[str, str]:
        """What a request to the Hub carries: the user's token, if there is one."""
        from huggingface_hub import constants, get_token

        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
        return {} if token is None else {"authorization": f"Bearer {token}"}


def choose(listing: HubListing, source: HubSource, weights: WeightFormat) -> Sequence[HubFile]:
    """The files of `listing` that the patterns of `source` name.

    Raises:
        SourceRefused: nothing matches.
    """
    found = [file for file in listing.files if any(_matches(file.path, pattern) for pattern in source.include)]
    if not found:
        raise SourceRefused(
            f"{listing.repo} has no file that matches {', '.join(source.include)} (any more). It has: "
            f"{', '.join(file.path for file in listing.files[:20]) or 'nothing'}."
        )
    return _one_set(found) if weights is WeightFormat.GGUF else found


def gguf_sets(files: Sequence[HubFile]) -> Sequence[tuple[str, Sequence[HubFile]]]:
    """GGUF files by model: the parts of a split one together, under its name without the part number.

    Repositories have replaced split files by whole ones and kept both: those of fewer parts come first.
    """
    sets: dict[str, tuple[str, list[HubFile]]] = {}
    for file in sorted(files, key=lambda file: file.path):
        if file.path.lower().endswith(".gguf"):
            whole = _SPLIT.sub("", file.path)
            same_set = _PART.sub("-of-", file.path)
            sets.setdefault(same_set, (whole, []))[1].append(file)
    return sorted(sets.values(), key=lambda named: len(named[1]))


def _one_set(files: Sequence[HubFile]) -> Sequence[HubFile]:
    sets = gguf_sets(files)
    return sets[0][1] if sets else files


def _matches(path: str, pattern: str) -> bool:
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path.lower(), pattern.lower())
