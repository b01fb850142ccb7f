"""One worker process: what it runs while it lives, whatever kind of job it works on."""
