"""Programs that run beside the Celery workers, one per file."""
