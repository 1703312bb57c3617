"""Forms that several pages use, or that are long. They parse the input, and show the errors of actions beside the fields."""
