"""The pages' forms, one subject a file: they read what was typed, and put what an act refuses beside its field."""
