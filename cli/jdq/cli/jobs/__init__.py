"""Commands about jobs: their state, progress, logs and results."""
