"""How far diabetes will have got in a year: ten networks of fastnn, trained side by side, and how far they disagree."""

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn.sklearn import MLPRegressor

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
scaler = StandardScaler().fit(y_train.reshape(-1, 1))
networks = MLPRegressor(
    alpha=10, max_iter=300, early_stopping=True, learning_rate_init=0.01, random_state=0, n_networks=10
)
model = make_pipeline(StandardScaler(), networks).fit(X_train, scaler.transform(y_train.reshape(-1, 1)).ravel())
mean, std = model.predict(X_test, return_std=True)
mean, std = mean * scaler.scale_ + scaler.mean_, std * scaler.scale_
print(f"mean error {np.abs(mean - y_test).mean():.1f}, spread of the networks {std.mean():.1f}")
