"""Threads that a step has work done by, side by side: packing and hashing let other threads run, and a disk makes
several files durable in little more than the time of one.
"""

import os
from concurrent.futures import ThreadPoolExecutor


def threads() -> ThreadPoolExecutor:
    """As many as there are cores, and a few at least: some of them wait for the disk."""
    return ThreadPoolExecutor(max(4, len(os.sched_getaffinity(0))))
