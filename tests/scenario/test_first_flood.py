"""The first moments of an agent's first flood, when every millisecond keeps clients out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.lab.namespaces import REPOSITORY

FLOOD = """
import sys
from pathlib import Path
from synguard.model import Mode
from synguard.policy.load import load_policies
from synguard.policy.models import Config
from tests.support.scene import Scene

config = Config(mode=Mode.ENFORCE)
[policy] = load_policies(config, None)
scene = Scene(Path(sys.argv[1]), policy, config=config)
scene.lasts(1)
known = set(sys.modules)
loud = [f"{20 + n}.7.{n}.1" for n in range(128)]
scene.weather.syn_pps = dict.fromkeys(loud, 78.0)
scene.weather.half_open = dict.fromkeys(loud, 1)
scene.weather.dropped_pps = 10_000
scene.lasts(1)
assert scene.banned() == set(loud), scene.banned()
print(*sorted(set(sys.modules) - known))
"""


def test_nothing_is_imported_once_a_flood_is_on(tmp_path: Path) -> None:
    """``np.unique`` imports ``numpy.ma`` when it is first called: that was 20 ms of CPU within the first sampled tick,
    which the pace of sensors then made 80 ms more of flood before the next one.
    """
    done = subprocess.run(
        [sys.executable, "-c", FLOOD, str(tmp_path)], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
