"""What `python -m` runs beside the Celery workers: one program per file."""
