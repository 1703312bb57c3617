"""The REST API. No logic of its own: it reads requests, calls `actions/` and writes answers."""
