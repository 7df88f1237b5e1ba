"""The rows, in groups that are measured together."""
