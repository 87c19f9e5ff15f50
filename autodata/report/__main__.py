"""Runs the command `python -m autodata.report`."""

from autodata.report.index import main

main()
