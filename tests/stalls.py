"""A process that stands still, for the tests of what that costs."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stall(after: float, seconds: float) -> Iterator[None]:
    """Let no thread of this process run Python code for `seconds`, `after` seconds from now."""

    def keep_the_interpreter() -> None:
        time.sleep(after)
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))  # unlike CDLL, it does not release the GIL

    thread = threading.Thread(target=keep_the_interpreter)
    thread.start()
    try:
        yield
    finally:
        thread.join()
