"""One engine in a process of its own: says that it is ready, waits for a line, delivers until idle, and reports."""

import json
import resource
import sys

from bench.scene import set_up_django


def main() -> None:
    set_up_django()
    from webhooks_app.pipeline import engine
    from webhooks_app.transport import open_transport

    until = engine.idle_for(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
    transport = open_transport()
    print(json.dumps({"ready": transport.name}), flush=True)
    sys.stdin.readline()
    progress = engine.run(until=until, transport=transport)
    used = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "recorded": progress.recorded,
        "events": progress.events,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_memory_mb": used.ru_maxrss / 1024,
    }
    print(json.dumps(report), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
