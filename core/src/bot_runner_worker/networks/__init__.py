"""Networks on the Engine, from the operator's pool: for each bot or for all, and for each build."""
