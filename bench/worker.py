"""One engine in a process of its own.

It says that it is ready, and delivers from the line `go` on, until its standard input ends or it is terminated. To
`report` it answers with what it has used so far.
"""

import json
import os
import resource
import sys
import threading

from bench.scene import set_up_django


def listen(go: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == "go":
            go.set()
        else:
            used = resource.getrusage(resource.RUSAGE_SELF)
            print(
                json.dumps({"cpu_seconds": used.ru_utime + used.ru_stime, "peak_memory_mb": used.ru_maxrss / 1024}),
                flush=True,
            )
    # Whoever started this is gone, or has seen enough; requests that hang are not waited for.
    os._exit(0)


def main() -> None:
    set_up_django()
    from webhooks_app.engine import run as engine
    from webhooks_app.management.commands.webhooks_deliver import collect_less
    from webhooks_app.transport import open_transport

    transport = open_transport()
    go = threading.Event()
    threading.Thread(target=listen, args=(go,), daemon=True).start()
    print(json.dumps({"ready": transport.name}), flush=True)
    collect_less()
    go.wait()
    engine.run(transport=transport, kind="bench")


if __name__ == "__main__":
    main()
