"""Build contexts, builds, pulls, the image store and its garbage collection."""
