"""Children that end with their parent, however that ends."""

import ctypes
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


#: For Popen's `preexec_fn`: Linux sends the child SIGTERM when its parent dies, be it by SIGKILL. Elsewhere: nothing.
die_with_parent: Callable[[], None] | None = _die_with_parent if sys.platform == "linux" else None
