"""A bot's life on one Engine: :mod:`.protocol` is the seam, :mod:`.reconciler` keeps it as it should be."""
