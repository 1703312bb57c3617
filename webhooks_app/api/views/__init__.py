"""The views of the standard API, one file a noun."""
