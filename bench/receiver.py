"""A receiver that costs as little as Python allows, in a process of its own: it counts, notes the time, and answers 200.

Paths beginning with `/hang` are accepted and never answered. On a line `report` at standard input it prints one JSON object
(requests, distinct deliveries, CPU seconds, and with `--times` when each webhook-id first came in) and goes on.
"""

import asyncio
import json
import resource
import sys
import time

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class Counter:
    requests = 0
    by_path: dict[bytes, int] = {}
    first_seen: dict[bytes, float] = {}


class Receiver(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = b""

    def data_received(self, data):
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
            self.answer(head)

    def answer(self, head):
        path = head.split(b" ", 2)[1]
        Counter.requests += 1
        Counter.by_path[path] = Counter.by_path.get(path, 0) + 1
        id_at = head.find(b"webhook-id: ")
        Counter.first_seen.setdefault(path + b" " + head[id_at + 12 :].split(b"\r\n", 1)[0], time.time())
        if not path.startswith(b"/hang"):
            self.transport.write(OK)


def report(with_times):
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer = {
        "requests": Counter.requests,
        "distinct": len(Counter.first_seen),
        "by_path": {path.decode(): count for path, count in Counter.by_path.items()},
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }
    if with_times:
        answer["first_seen"] = {key.decode(): at for key, at in Counter.first_seen.items()}
    print(json.dumps(answer), flush=True)


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    done = loop.create_future()

    def on_line():
        line = sys.stdin.readline().strip()
        if line:
            report(line == "report-times")
        elif not done.done():
            done.set_result(None)

    loop.add_reader(sys.stdin.fileno(), on_line)
    await done


if __name__ == "__main__":
    asyncio.run(main())
