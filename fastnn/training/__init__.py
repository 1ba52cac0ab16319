"""Training as scikit-learn and Keras users know it: fit, callbacks, history, progress, metrics."""
