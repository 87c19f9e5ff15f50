"""Runs the command `python -m autodata.replay`."""

from autodata.replay.replay import main

main()
