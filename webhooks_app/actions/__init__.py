"""What people do: one act a function, called by the API, the dashboard, the admin and commands alike.

Each writes its audit entry in its own transaction, takes `actor` ("user:anna", "staff:bert", "key:wk_…", default "system") and
raises the errors of `webhooks_app.exceptions`. Whose object it is, the caller has checked.
"""
