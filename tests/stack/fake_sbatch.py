"""`sbatch SCRIPT`, as far as its options --time and --signal go, in the foreground.

Runs the script as Slurm does. When the file `near-limit` appears in the folder $FAKE_SLURM, sends the signal to the
batch shell; what still runs when the seconds of --signal are over is killed. Writes the script's exit code to `exit`.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(script: Path) -> None:
    """Runs the script."""
    text = script.read_text(encoding="utf-8")
    [(to_batch, name, before_s)] = re.findall(r"^#SBATCH --signal=(B:)?(\w+)@(\d+)$", text, re.MULTILINE)
    assert re.search(r"^#SBATCH --time=\d\d:\d\d:\d\d$", text, re.MULTILINE), "no time limit"
    assert to_batch, "without B:, the signal goes to job steps, and the script has none"
    folder = Path(os.environ["FAKE_SLURM"])
    environment = {**os.environ, "SLURM_JOB_ID": "42"}
    with subprocess.Popen(["/bin/bash", script], env=environment, start_new_session=True) as batch:
        print("Submitted batch job 42", flush=True)  # noqa: T201
        while not (folder / "near-limit").exists() and batch.poll() is None:
            time.sleep(0.1)
        batch.send_signal(signal.Signals[f"SIG{name}"])
        try:
            batch.wait(int(before_s))
        except subprocess.TimeoutExpired:
            os.killpg(batch.pid, signal.SIGKILL)
    (folder / "exit").write_text(str(batch.returncode), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
