"""The ledger in Redis is the source of truth about jobs, chunks, leases and workers; Celery only wakes workers up."""
