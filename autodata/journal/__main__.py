"""Runs the command `python -m autodata.journal`."""

from autodata.journal.actions import main

main()
