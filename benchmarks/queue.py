"""What the queue costs: ``python benchmarks/queue.py``. The measurements are in queue_costs.py."""

import importlib.util
import sys
import sysconfig
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parent.parent))  # the simulation of shares is among the tests
    from queue_costs import main

    main()
else:
    # A program of this folder that is run as a script finds this file where it imports the standard library's `queue`.
    standard = Path(sysconfig.get_path("stdlib")) / "queue.py"
    spec = importlib.util.spec_from_file_location("queue", standard)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["queue"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["queue"])
