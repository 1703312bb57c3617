"""The customers' pages. No logic of their own: they read, call `actions/`, and show."""
