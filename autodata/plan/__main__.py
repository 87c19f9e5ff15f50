"""Runs the command `python -m autodata.plan`."""

from autodata.plan.plan import main

main()
