"""One module per command, or per few small ones."""
