"""NumPy text only: what activations, losses, optimisers, schedules, initialisers and metrics compute."""
