"""One module per subject, with its views and their `paths`."""
