"""Runs the command `python -m eval.tables`."""

from eval.tables.write import main

main()
