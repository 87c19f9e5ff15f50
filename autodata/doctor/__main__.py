"""Runs the command `python -m autodata.doctor`."""

from autodata.doctor.examine import main

main()
