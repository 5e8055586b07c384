"""How the gateway itself behaves, and who may use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tundish.config.places import read_class
from tundish.config.section import Section
from tundish.config.site import ConversationRules, KeySpec, Project, ReceiptRules, WhenUnwritable
from tundish.config.wording import did_you_mean, shorten
from tundish.dispatch.rules import BreakerRules, RetryRules, Rules

_OWNERS_KEYS = ("environment", "generated")
"""What the endpoint's own key is called in receipts."""


def read_receipts(root: Section) -> ReceiptRules:
    """`[receipts]`."""
    section, defaults = root.table("receipts"), ReceiptRules()
    choices = {choice.value: choice for choice in WhenUnwritable}
    rules = ReceiptRules(
        when_unwritable=choices[section.one_of("when_unwritable", choices, defaults.when_unwritable.value)],
        flush_interval_s=section.seconds("flush_interval_s", defaults.flush_interval_s, most=5.0),
        sync_interval_s=section.seconds("sync_interval_s", defaults.sync_interval_s, most=60.0),
    )
    section.finish()
    return rules


def read_rules(root: Section) -> Rules:
    """`[retries]`, `[breaker]` and `[shadows]`."""
    section, defaults = root.table("shadows"), Rules()
    most = section.whole("most", defaults.shadows, least=0, most=10_000)
    section.finish()
    return Rules(retries=_read_retries(root), breaker=_read_breaker(root), shadows=most)


def _read_retries(root: Section) -> RetryRules:
    """`[retries]`."""
    section, defaults = root.table("retries"), RetryRules()
    rules = RetryRules(
        attempts=section.whole("attempts", defaults.attempts, least=1, most=20),
        budget_ratio=section.number("budget_ratio", defaults.budget_ratio, most=10.0),
        budget_burst=section.number("budget_burst", defaults.budget_burst, most=10_000.0),
        backoff_first_s=section.seconds("backoff_first_s", defaults.backoff_first_s, most=60.0),
        backoff_limit_s=section.seconds("backoff_limit_s", defaults.backoff_limit_s, most=600.0),
    )
    section.finish()
    if rules.backoff_limit_s < rules.backoff_first_s:
        section.problem(f"must not be below 'backoff_first_s' ({rules.backoff_first_s:g}).", "backoff_limit_s")
    return rules


def _read_breaker(root: Section) -> BreakerRules:
    """`[breaker]`."""
    section, defaults = root.table("breaker"), BreakerRules()
    rules = BreakerRules(
        failures=section.whole("failures", defaults.failures, least=1, most=10_000),
        open_s=section.seconds("open_s", defaults.open_s, most=3600.0),
        probes=section.whole("probes", defaults.probes, least=1, most=1000),
        successes=section.whole("successes", defaults.successes, least=1, most=1000),
    )
    section.finish()
    return rules


def read_conversations(root: Section) -> ConversationRules:
    """`[conversations]`."""
    section, defaults = root.table("conversations"), ConversationRules()
    rules = ConversationRules(
        most=section.whole("most", defaults.most, least=1000, most=100_000_000),
        keep_days=section.number("keep_days", defaults.keep_days, above=True, most=36_500.0),
    )
    section.finish()
    return rules


def read_projects(root: Section, classes: Sequence[str]) -> Mapping[str, Project]:
    """`[projects]`."""
    projects: dict[str, Project] = {}
    for name, section in root.tables("projects"):
        projects[name] = Project(name=name, data_class=read_class(section, "data_class", classes))
        section.finish()
    return projects


def read_keys(root: Section, projects: Mapping[str, Project], classes: Sequence[str]) -> Mapping[str, KeySpec]:
    """`[keys]`."""
    keys: dict[str, KeySpec] = {}
    kept_in: dict[str, str] = {}
    for name, section in root.tables("keys"):
        if name in _OWNERS_KEYS:
            section.problem(f"'{name}' is what the endpoint's own key is called. Choose another name.")
        section.require("key", 'where the key is kept: { env = "VARIABLE" }, { file = "PATH" }, …')
        reference = section.secret("key")
        project = section.text("project", "")
        if project and project not in projects:
            near = did_you_mean(project, projects)
            section.problem(f"There is no project '{shorten(project)}'.{near} Add [projects.NAME].", "project")
        data_class = read_class(section, "data_class", classes)
        section.finish()
        if reference is None:
            continue
        other = kept_in.setdefault(str(reference), name)
        if other != name:
            section.problem(f"The key '{other}' is kept in the same place. Whose request would it be?", "key")
        keys[name] = KeySpec(key_id=name, key=reference, project=project, data_class=data_class)
    return keys
