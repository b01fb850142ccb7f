"""The Python API: what `jdq submit` and the commands for results do, as methods that return jobs and data frames."""

from jdq.cli.client import BadRequest
from jdq.cli.programs import ProgramFailed
from jdq.client.client import Client
from jdq.client.job import Job, JobNotSucceeded

__all__ = ["BadRequest", "Client", "Job", "JobNotSucceeded", "ProgramFailed"]
