"""scikit-learn's own checks, each a test."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from pellucid.estimators import CNNClassifier, CNNRegressor


@parametrize_with_checks([CNNClassifier(), CNNRegressor()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
