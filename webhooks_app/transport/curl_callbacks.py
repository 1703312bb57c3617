"""What libcurl's callbacks have in common."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import wraps
from typing import Any


def guarded(failure: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """For libcurl's callbacks. pycurl would print an exception, a signal handler's too, and forget it."""

    def decorate(callback: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(callback)
        def call(handle: Any, *arguments: Any) -> Any:
            try:
                return callback(handle, *arguments)
            except Exception as error:  # noqa: BLE001 - it becomes this request's response
                handle.stop(error)
            except BaseException as error:  # noqa: BLE001 - raised again by the transport's `wait`
                handle.keep_error(error)
            return failure

        return call

    return decorate


class Dialled(socket.socket):
    """libcurl works on a duplicate of this socket; the original goes as soon as nobody holds it, without a warning."""

    def __del__(self) -> None:
        if hasattr(self, "_closed"):  # not where it could not be opened
            self.close()
