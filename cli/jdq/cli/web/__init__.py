"""`jdq web`: pages about jobs, workers and results, for a browser."""
