"""The ledger in Redis: the truth about jobs, chunks, leases and workers. Celery's messages only send workers to it."""
