"""How long a study of New York City takes: five scenarios of `nyc-what-if`, 20 realizations each, 8.8 million people.

    python benchmarks/nyc/study_time.py             ten minutes on two cores
    python benchmarks/nyc/study_time.py --agents 44000

Runs `lpm study` in a process of its own on a file with five of its eight scenarios, the baseline included, and writes
benchmarks/results/study.json if all people were simulated.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
RESULT = ROOT / "benchmarks" / "results" / "study.json"
SCENARIOS = ("one week earlier", "schools alone", "shielding the old", "weekly testing")


def main() -> None:
    """Run and time."""
    from machine import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, help="how many people; all if left out")
    asked = parser.parse_args()
    about, yaml = machine(), YAML()
    study = yaml.load((ROOT / "configs" / "nyc-what-if.yaml").read_text("utf-8"))
    chosen = study["study"]["scenarios"]
    for name in [each for each in chosen if each not in SCENARIOS]:
        del chosen[name]
    if asked.agents:
        study["study"]["set"]["settings.people.agents"] = asked.agents
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "study.yaml"
        with file.open("w", encoding="utf-8") as stream:
            yaml.dump(study, stream)
        program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lpm.cli import main; main()"
        begun = time.perf_counter()
        words = [sys.executable, "-c", program, "study", str(file), "--out", str(Path(scratch) / "out")]
        subprocess.run(words, check=True)
        seconds = time.perf_counter() - begun
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "scenarios": ["as it was", *SCENARIOS],
        "runs": (1 + len(SCENARIOS)) * study["study"]["realizations"],
        "seconds": seconds,
        "processor_seconds": own.ru_utime + own.ru_stime,
        "peak_memory_gb": own.ru_maxrss / 1e6,
    }
    print(json.dumps(found, indent=1))
    if not asked.agents:
        RESULT.write_text(json.dumps({"machine": about, **found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
