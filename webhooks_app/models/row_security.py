"""Row level security of PostgreSQL on the app's tables. It hides rows without an error, so an engine finds no work."""

from __future__ import annotations

from django.apps import apps
from django.db import connections

HINT = (
    "Give the role of the engines BYPASSRLS (ALTER ROLE … BYPASSRLS), or on each of these tables a policy of its own: "
    "CREATE POLICY … TO <role> USING (true)."
)

# row_security_active alone is also true if a policy gives this role all rows.
_TABLES_SQL = """
    SELECT current_user, table_.relname
    FROM unnest(%s::text[]) AS name
    JOIN pg_class AS table_ ON table_.oid = to_regclass(name)
    WHERE row_security_active(table_.oid) AND NOT coalesce((
        SELECT bool_and(polpermissive) AND bool_or(
            polcmd = '*'
            AND pg_get_expr(polqual, polrelid) = 'true'
            AND coalesce(pg_get_expr(polwithcheck, polrelid), 'true') = 'true'
        )
        FROM pg_policy
        WHERE polrelid = table_.oid AND EXISTS (
            SELECT FROM unnest(polroles) AS role
            WHERE CASE WHEN role = 0 THEN true ELSE pg_has_role(role, 'USAGE') END
        )
    ), false)
    ORDER BY table_.relname
"""


def row_security_fault(using: str) -> str:
    """Return a sentence that names the tables in which row level security may hide rows from this connection's role; an empty
    text if there are none, as on every other database than PostgreSQL. A table that does not exist yet is no fault."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return ""
    models = apps.get_app_config("webhooks_app").get_models(include_auto_created=True)
    tables = [connection.ops.quote_name(model._meta.db_table) for model in models]
    with connection.cursor() as cursor:
        cursor.execute(_TABLES_SQL, [tables])
        found = cursor.fetchall()
    if not found:
        return ""
    names = ", ".join(name for _, name in found)
    return f"Row level security may hide rows of {names} from the role {found[0][0]!r}: events are stored and never delivered."
