"""scikit-learn's face of the package: `CNNClassifier` and `CNNRegressor`.

Needs scikit-learn; nothing else in the package does.
"""

try:
    import sklearn as _sklearn  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    raise ImportError("pellucid.estimators needs scikit-learn 1.6 or newer: pip install 'pellucid[sklearn]'") from error

from pellucid.estimators.classifier import CNNClassifier
from pellucid.estimators.regressor import CNNRegressor

__all__ = ["CNNClassifier", "CNNRegressor"]
