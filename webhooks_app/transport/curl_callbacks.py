"""Helpers for libcurl's callbacks."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import wraps
from typing import Any


def guarded(failure: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a libcurl callback, so that its exceptions are not lost: pycurl would only print them, even a signal handler's."""

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


def guarded_reader(callback: Callable[[Any, bytes], int | None]) -> Callable[[Any, bytes], int | None]:
    """Do the same for a callback that gets one line or piece of a response. It is called several times for each response, and any
    number of arguments would take four times as long."""

    @wraps(callback)
    def call(handle: Any, data: bytes) -> int | None:
        try:
            return callback(handle, data)
        except Exception as error:  # noqa: BLE001 - it becomes this request's response
            handle.stop(error)
        except BaseException as error:  # noqa: BLE001 - raised again by the transport's `wait`
            handle.keep_error(error)
        return 0

    return call


class Dialled(socket.socket):
    """A socket that libcurl duplicates. The original closes without a warning when it is no longer referenced."""

    def __del__(self) -> None:
        if hasattr(self, "_closed"):  # it is missing if the socket could not be opened
            self.close()
