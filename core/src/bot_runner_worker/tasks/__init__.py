"""The use cases, one module a task. :mod:`.start_bot` is the main path."""
