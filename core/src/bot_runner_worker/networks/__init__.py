"""The networks on the Engine: one for each bot or one for all, one for builds, from the operator's pool."""
