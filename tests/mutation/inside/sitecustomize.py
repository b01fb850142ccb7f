"""Run by Python at the start of each process that mutmut or a test starts.

mutmut counts in its own process which functions a test reaches. In a process that a test starts, counting would look
for mutmut's settings where there are none, so nothing is counted there.
"""

import os

if os.environ.get("MUTANT_UNDER_TEST") == "stats":
    os.environ["MUTANT_UNDER_TEST"] = ""
