"""Runs the command: python -m autodata.judge_audit"""

from autodata.judge_audit.audit import main

main()
