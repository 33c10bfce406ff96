"""scikit-learn is needed here and nowhere else."""

import ast
import subprocess
import sys
from pathlib import Path

import pellucid

PACKAGE = Path(pellucid.__file__).parent


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_the_rest_of_the_package_does_without():
    code = "import sys, pellucid, pellucid.train, pellucid.nn, pellucid.cli; print('sklearn' in sys.modules)"
    assert run(code) == "False\n"
    for module in PACKAGE.rglob("*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        own = module.is_relative_to(PACKAGE / "estimators")
        assert own or not any(name.split(".")[0] == "sklearn" for name in names), module


def test_without_scikit_learn_the_error_says_what_to_install():
    code = (
        "import sys\n"
        "sys.modules['sklearn'] = None\n"
        "try:\n    import pellucid.estimators\n"
        "except ImportError as error:\n    print(error)\n"
    )
    assert run(code) == "pellucid.estimators needs scikit-learn 1.6 or newer: pip install 'pellucid[sklearn]'\n"
