"""The customers' pages. They contain no logic of their own: they read, call services, and show the results."""
