"""Handwritten digits with scikit-learn's classifier."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=0.25, random_state=0)
model = MLPClassifier(batch_size=32, max_iter=100, random_state=0).fit(X_train, y_train)
print(f"accuracy {model.score(X_test, y_test):.3f} after {model.n_iter_} epochs")
