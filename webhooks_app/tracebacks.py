"""Remove local variables from tracebacks.

Django's error pages and e-mails, and services that collect errors, show the local variables of every function in a traceback.
Here these may be signing keys, header values and signatures.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden_locals() -> Iterator[None]:
    """Let exceptions pass without the local variables of the functions that were called in this context."""
    try:
        yield
    except BaseException as error:
        hide_locals(error)
        raise


def hide_locals(error: BaseException) -> None:
    """Remove the local variables of all functions that have ended because of an error, or of what led to it."""
    seen: set[int] = set()
    errors: list[BaseException | None] = [error]
    while errors:
        one = errors.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            errors += [one.__cause__, one.__context__]
