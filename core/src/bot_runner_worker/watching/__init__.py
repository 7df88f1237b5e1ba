"""Bots that take what all share, the Engine's disk and its time for logs: seen at a small, bounded cost."""
