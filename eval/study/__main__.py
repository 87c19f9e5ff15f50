"""Runs the command `python -m autodata.eval.study`."""

from autodata.eval.study.write import main

main()
