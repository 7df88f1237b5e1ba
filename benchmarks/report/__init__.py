"""A run's results for people and programs: text, Markdown, JSON, pictures."""
