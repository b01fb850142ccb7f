"""What Celery executes: the job contract, the ledger, the encoder, the heads."""
