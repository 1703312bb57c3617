"""Whether other engines are alive, which may be able to do what this one cannot."""

from __future__ import annotations

import time
from datetime import datetime

from webhooks_app.db import read
from webhooks_app.engine.heartbeat import Heartbeat
from webhooks_app.models import Engine
from webhooks_app.models.lookups import any_of

#: In seconds. Much shorter than an engine is taken to be alive without a heartbeat.
_KNOWN_FOR = 1.0


class OtherEngines:
    """The engines beside this one, as the database has them. Used by the database thread only."""

    def __init__(self, using: str, heartbeat: Heartbeat) -> None:
        self._using = using
        self._heartbeat = heartbeat
        #: Whether one is alive, and until when (monotonic) that is taken as known.
        self._known = (False, 0.0)

    def are_alive(self, now: datetime) -> bool:
        """Return whether another engine is alive and takes work. Cheap to call: if a key is missing, that may be asked for every
        queue."""
        alive, known_until = self._known
        if time.monotonic() >= known_until:
            engines = Engine.objects.using(self._using).alive(now).filter(draining=False)
            alive = read(engines.exclude(any_of("id", self._heartbeat.ids)).exists, self._using)
            self._known = (alive, time.monotonic() + _KNOWN_FOR)
        return alive
