"""fastnn measured against its peers: ``python -m benchmarks.peers``.

Read `workloads` for what is measured, `contestant` for what a peer is, the ``peer_*`` files for how each
does it best, `race` for how the time is taken.
"""
