"""After kills, full disks and read-only directories, a resumed run ends like an uninterrupted one. See also kill.py."""

import pytest
from kill import KINDS, torture


@pytest.mark.slow
def test_killed_or_refused_at_random_and_resumed_a_run_ends_bit_for_bit_the_same(tmp_path):
    tally, runs, skipped = torture(tmp_path, kills=6)
    assert sum(tally[kind, "killed"] for kind in KINDS) == 6
    assert runs > 0
    for reason in skipped:
        print("skipped:", reason)
