"""The special tokens of harmony, by name. The ids are the published vocabulary's."""

from __future__ import annotations

from typing import Final

FIRST_SPECIAL: Final = 199_998
"""This and all above it are special; all below are text."""
END_OF_TEXT: Final = 199_999
RETURN: Final = 200_002
"""Ends the turn with a final answer."""
CONSTRAIN: Final = 200_003
"""Names the data type of a message (`json`)."""
CHANNEL: Final = 200_005
START: Final = 200_006
"""Begins a message's header."""
END: Final = 200_007
"""Ends a message; the turn goes on."""
MESSAGE: Final = 200_008
"""Ends the header, begins the content."""
CALL: Final = 200_012
"""Ends the turn with a tool call."""

STOP_TOKENS: Final = frozenset({RETURN, CALL, END_OF_TEXT})
"""What ends a turn. `<|end|>` is not among them: it ends the analysis, and the answer comes after it."""
