"""Attempts to break fastnn, by the thousand: ``python -m tests.reliability``."""
