"""One module a subject: its views, and `paths`, where they are."""
