"""The ledger in Redis is the source of truth for jobs, chunks, leases and workers; Celery only wakes workers up."""
