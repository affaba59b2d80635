"""Evaluation: scores with intervals, and the report."""
