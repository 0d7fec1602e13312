import ast
from pathlib import Path

import kelp.model


def test_the_model_imports_nothing_else_of_kelp():
    for path in Path(kelp.model.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            others = [
                name for name in names if name.split(".")[0] == "kelp" and name.split(".")[:2] != ["kelp", "model"]
            ]
            assert not others, (path.name, others)
