"""Lets Python write compiled files even where the environment forbids it.

Without them each run spends 7 s on compiling the tests, and each process that a test starts compiles the package anew.
"""

import os
import sys

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
