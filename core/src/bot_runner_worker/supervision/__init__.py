"""What goes on without any task: one loop that holds what runs against what should run."""
