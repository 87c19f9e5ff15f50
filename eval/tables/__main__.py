"""Runs the command `python -m autodata.eval.tables`."""

from autodata.eval.tables.write import main

main()
