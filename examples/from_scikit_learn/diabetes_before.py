"""How far diabetes will have got in a year: ten networks of scikit-learn, and how far they disagree."""

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
predictions = []
for seed in range(10):
    network = MLPRegressor(alpha=10, max_iter=300, early_stopping=True, learning_rate_init=0.01, random_state=seed)
    model = TransformedTargetRegressor(make_pipeline(StandardScaler(), network), transformer=StandardScaler())
    predictions.append(model.fit(X_train, y_train).predict(X_test))
mean, std = np.mean(predictions, axis=0), np.std(predictions, axis=0)
print(f"mean error {np.abs(mean - y_test).mean():.1f}, spread of the networks {std.mean():.1f}")
