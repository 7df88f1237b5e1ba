"""How the worker is: watched in the background, told over HTTP, in metrics, in the log and by ``doctor``."""
