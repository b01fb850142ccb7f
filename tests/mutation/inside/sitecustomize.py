"""Run by Python at the start of each process that a test starts: it, too, runs the mutant."""

import os
from importlib.machinery import SourceFileLoader
from pathlib import Path

MUTATED, MUTANT = "JDQ_MUTATED_FILE", "JDQ_MUTANT_FILE"


def run_mutant() -> None:
    """Has this process import the file that JDQ_MUTANT_FILE names in place of JDQ_MUTATED_FILE."""
    mutated, mutant = os.environ[MUTATED], os.environ[MUTANT]
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> object:
        if self.path != mutated:
            return original(self, fullname)
        return compile(Path(mutant).read_bytes(), mutated, "exec", dont_inherit=True)

    SourceFileLoader.get_code = get_code  # type: ignore[assignment, method-assign]


if MUTANT in os.environ:
    run_mutant()
