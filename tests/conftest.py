"""Settings of all tests."""

from hypothesis import settings

# The same examples in every run: what fails on one machine fails on all.
settings.register_profile("fastnn", derandomize=True, deadline=None)
settings.load_profile("fastnn")
