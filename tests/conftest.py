"""One thread for every test and its subprocesses: results do not depend on the machine, and others can work on it."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
