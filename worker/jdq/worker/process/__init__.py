"""One worker process: everything that does not depend on the kind of job."""
