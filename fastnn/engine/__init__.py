"""What runs a network: its memory laid out, its optimiser's state, its threads."""
