"""A receiver that costs as little as Python allows, in a process of its own: it counts, notes the time, answers 200.

Paths beginning with `/hang` are accepted and never answered. Lines on standard input: `count` prints the number of
distinct deliveries that were answered; `report` prints one JSON object (requests, distinct deliveries, CPU seconds);
`times` prints when each webhook-id first came in (seconds since the epoch); `forget` starts counting anew.
"""

import asyncio
import json
import resource
import sys
import time
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class Counter:
    answered: set[bytes] = set()
    requests = {"answered": 0, "hanging": 0}
    first_seen: dict[bytes, float] = {}


class Receiver(asyncio.Protocol):
    transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self.buffer += data
        while True:
            head_end = self.buffer.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = self.buffer[:head_end]
            length_at = head.lower().find(b"content-length:")
            length = int(head[length_at + 15 :].split(b"\r\n", 1)[0])
            end = head_end + 4 + length
            if len(self.buffer) < end:
                return
            self.buffer = self.buffer[end:]
            self.answer(head, now)

    def answer(self, head: bytes, now: float) -> None:
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/hang"):
            Counter.requests["hanging"] += 1
            return
        self.transport.write(OK)
        message_id = head[head.find(b"webhook-id: ") + 12 :].split(b"\r\n", 1)[0]
        Counter.requests["answered"] += 1
        Counter.answered.add(path + message_id)
        Counter.first_seen.setdefault(message_id, now)


def answer_to(question: str) -> Any:
    if question == "count":
        return len(Counter.answered)
    if question == "times":
        return {message_id.decode(): at for message_id, at in Counter.first_seen.items()}
    if question == "forget":
        Counter.answered, Counter.requests, Counter.first_seen = set(), {"answered": 0, "hanging": 0}, {}
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {**Counter.requests, "distinct": len(Counter.answered), "cpu_seconds": used.ru_utime + used.ru_stime}


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    done: asyncio.Future[None] = loop.create_future()

    def on_line() -> None:
        line = sys.stdin.readline().strip()
        if line:
            print(json.dumps(answer_to(line)), flush=True)
        elif not done.done():
            done.set_result(None)

    loop.add_reader(sys.stdin.fileno(), on_line)
    await done


if __name__ == "__main__":
    asyncio.run(main())
