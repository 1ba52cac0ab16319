"""A search for the width and the penalty of a classifier in a pipeline, with fastnn."""

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn.sklearn import MLPClassifier

X, y = load_breast_cancer(return_X_y=True)
model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=300, early_stopping=True, random_state=0))
grid = {"mlpclassifier__hidden_layer_sizes": [(10,), (50,)], "mlpclassifier__alpha": [1e-4, 1e-1]}
search = GridSearchCV(model, grid, cv=5).fit(X, y)
print(f"accuracy {search.best_score_:.3f} with {search.best_params_}")
