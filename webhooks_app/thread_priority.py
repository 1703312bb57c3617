"""Lower the priority of a thread that uses a processor and cannot be ended."""

from __future__ import annotations

import contextlib
import os
import sys

_LOWEST = 19


def lower_priority(native_id: int | None) -> bool:
    """Give the thread the lowest priority, and return whether it has it: only Linux has priorities of threads. They cannot be
    raised again without privileges. `native_id`: `Thread.native_id`."""
    if sys.platform == "linux" and native_id:
        with contextlib.suppress(OSError):  # it has just ended
            os.setpriority(os.PRIO_PROCESS, native_id, _LOWEST)
            return True
    return False
