"""Forms of the pages, one module per subject: they parse the input, and show the errors of actions beside the fields."""
