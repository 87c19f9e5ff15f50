"""Runs the command `python -m eval.study`."""

from eval.study.write import main

main()
