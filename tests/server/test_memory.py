import subprocess
import sys

import pytest

from tests.waiting import PATIENCE

FAULTS = """
import ctypes, resource, threading
import numpy as np

# With huge pages a fault brings 2 MB, and few stand for much.
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)

def pictures(count):
    for _ in range(count):
        blocks = [np.ones((256, 256), np.int16) for _ in range(200)]
        del blocks

def measured():
    pictures(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pictures(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

# In a thread, as pictures are drawn: it has a heap of its own.
thread = threading.Thread(target=measured)
thread.start()
thread.join()
"""


def faults(first):
    """Page faults while 20 times 200 blocks of 128 KB are taken and given back, in a process that runs `first` before."""
    done = subprocess.run(
        [sys.executable, "-c", first + FAULTS], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="keeps memory of glibc's allocator")
def test_a_server_keeps_the_memory_of_a_picture_for_the_next_one():
    # By itself a process gets pages from the system again, picture by picture.
    assert faults("") > 10_000
    assert faults("import terrazzo.server.preload\n") < 1_000
