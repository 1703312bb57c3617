"""`python -m tests.unused`: find code that nobody uses, with vulture. Names in the templates count as uses."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from vulture import Vulture

_ROOT = Path(__file__).parent.parent
_PATHS = ("webhooks_app", "project", "bench", "tests")
_TEMPLATES = ("webhooks_app/templates", "templates")
_TAG = re.compile(r"\{[{%](.*?)[%}]\}", re.DOTALL)
#: Decorators whose functions are called by a framework.
_CALLED = [
    "@action",
    "@admin.*",
    "@dashboard_view",
    "@extend_schema",
    "@receiver",
    "@register*",
    "@shared_task",
    "@*.connect*",
]
#: Names that Django, Django REST framework, Celery, urllib3 or http.server read or call.
_FRAMEWORK = (
    # models, forms, the admin
    "from_db_value",
    *("base_manager_name", "ordering", "constraints", "indexes", "permissions", "default_auto_field", "conditional"),
    *("output_field", "clean_*", "format_value", "prepare_value", "has_changed", "valid_value", "Media", "fieldsets"),
    *(
        "list_*",
        "search_fields",
        "readonly_fields",
        "autocomplete_fields",
        "sortable_by",
        "actions_on_bottom",
        "show_*",
    ),
    *("date_hierarchy", "change_*_template", "formfield_*", "short_description", "allowed_permissions", "as_*"),
    *("get_*", "has_*", "save_*", "delete_*", "add_arguments", "requires_system_checks", "app_configs", "delimiter"),
    # Django REST framework and drf-spectacular
    *("*_classes", "*_class", "authenticate_header", "select_renderer", "format_suffix", "page_size_query_param"),
    *("*_query_description", "ensure_ascii", "run_child_validation"),
    *("max_page_size", "base_url", "lookup_value_regex", "auto_schema", "validate_*", "*Scheme", "WebhooksConfig"),
    # Celery, urllib3, requests, http.server
    *(
        "on_declared",
        "_new_conn",
        "pool_classes_by_scheme",
        "cert_verify",
        "request_url",
        "cert",
        "cert_reqs",
        "encoding",
    ),
    *(
        "_read_and_discard_trailer",
        "_read_next_chunk_size",
        "server_version",
        "sys_version",
        "do_GET",
        "log_message",
        "daemon_threads",
    ),
)
#: Fields of serializers, reports and charts, and columns of the admin, which are read by their names.
_FIELDS = (
    "latency_*",
    "client_error",
    "failures_in_a_row",
    "portal_url",
    "portal_links",
    "new_headers",
    "drop_headers",
    *("made_shortly", "started_shortly", "made_deliveries", "occurred", "last_failure", "last_success"),
)
_OTHERS = ("numberIds", "used_at", "_prepare_slots", "_wait_for_put_off_hint")


def names_in_templates() -> set[str]:
    """Return every name between the braces of the templates."""
    found: set[str] = set()
    for folder in _TEMPLATES:
        for path in (_ROOT / folder).rglob("*.*"):
            for tag in _TAG.findall(path.read_text()):
                found.update(re.findall(r"[A-Za-z_]\w*", tag))
    return {name for name in found if not keyword.iskeyword(name)}


def main() -> int:
    """Print unused code of the package, and return how much there is."""
    vulture = Vulture(ignore_names=[*_FRAMEWORK, *_FIELDS, *_OTHERS], ignore_decorators=_CALLED)
    vulture.scavenge([str(_ROOT / path) for path in _PATHS], exclude=["*/migrations/*"])
    vulture.scan("\n".join(f"_.{name}" for name in sorted(names_in_templates())))
    package = _ROOT / "webhooks_app"
    unused = [one for one in vulture.get_unused_code(min_confidence=60) if Path(one.filename).is_relative_to(package)]
    for one in unused:
        print(one.get_report())
    return len(unused)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
