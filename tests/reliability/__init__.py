"""Attempts to break fastnn, by the thousand: ``python -m tests.reliability``.

Each module tries one kind of harm: ``run(count, seed)`` returns numbers by name (tried, crashed, hung, ...). The test
suite calls short forms.
"""
