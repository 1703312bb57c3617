"""Views of the standard API, with one module per resource."""
