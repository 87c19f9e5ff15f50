"""Runs the command `python -m autodata.reproduce`."""

from autodata.reproduce.reproduce import main

main()
