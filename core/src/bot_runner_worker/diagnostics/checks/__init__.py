"""The checks of ``doctor``, by subject: functions from a context to a result."""
