"""The layers of a network, and the memory of each."""
