"""The status document: its model, how it is built, its file, and whether an agent runs."""
