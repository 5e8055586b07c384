"""What is known of a request's data."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A data class and why it is that one.

    `data_class` is a name of the policy's ordered list; `sources` say who claimed what, for the decision record:
    `project=internal`, `header=confidential`, `route=public`, `conversation=restricted`, later a detector's findings.
    """

    data_class: str
    sources: tuple[str, ...] = ()
