"""The customers' pages. No logic of their own: they read, call services, and show."""
