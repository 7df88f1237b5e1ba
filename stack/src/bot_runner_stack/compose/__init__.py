"""`make stack`: the repository's `compose.yaml`, as an operator runs it, from its images to its end.

It brings the file up under a project name of its own, deploys bots of each mode through it, restarts each
service while they run, and removes everything.
"""
