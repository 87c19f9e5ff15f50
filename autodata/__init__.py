"""Autodata: documents → training data of the right difficulty (arXiv 2606.25996)."""
