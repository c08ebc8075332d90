"""What a process tree takes: its own time and memory, and those of children, dead or alive."""

import subprocess
import sys
import time

from penstock.core import machine
from penstock.dashboard.processes import LOOK, Processes

SPIN = """
import time, sys
held = bytearray(64 << 20)
end = time.process_time() + 0.2
while time.process_time() < end: pass
print("spun", flush=True)
sys.stdin.read()
"""


def test_own_time_and_memory_count():
    processes = Processes()
    before = processes.read()
    end = time.process_time() + 1.0
    while time.process_time() < end:
        pass
    after = processes.read()
    assert 0.5 < after.seconds - before.seconds < 5  # children of other tests may just have ended
    assert after.bytes >= machine.resident() // 2


def test_a_childs_time_counts_while_it_lives_and_when_it_has_ended():
    processes = Processes()
    before = processes.read()
    child = subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        child.stdout.readline()
        for _ in range(LOOK):  # one of these finds it
            alive = processes.read()
        child.stdin.close()
    ended = processes.read()
    assert alive.seconds - before.seconds >= 0.19
    assert alive.bytes - before.bytes >= 60 << 20
    assert ended.seconds - before.seconds >= 0.19
    assert ended.bytes - before.bytes < 60 << 20
