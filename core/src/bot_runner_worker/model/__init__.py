"""Value types and protocols: what the layers hand to one another. Imports nothing of ours from outside."""
