"""Where bots run. :mod:`.protocol` is the seam; :mod:`.docker_engine` is the implementation on one Engine."""
