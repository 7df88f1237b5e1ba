"""From source code to an image: build contexts, the content-addressed image store, the base image."""
