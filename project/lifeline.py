"""Child processes that end with their parent, however it ends."""

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


#: For Popen's `preexec_fn`: on Linux the child gets SIGTERM when its parent dies, even from SIGKILL. Elsewhere: no effect.
die_with_parent: Callable[[], None] | None = _die_with_parent if sys.platform == "linux" else None
