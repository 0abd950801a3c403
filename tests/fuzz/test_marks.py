"""What `make fuzz` runs."""

from __future__ import annotations

import ast

from tests.test_house import assert_none, functions, suite


def test_make_fuzz_finds_every_property_of_a_reader():
    """A test that draws inside its body is not marked by Hypothesis, and `make fuzz` passes over it."""
    rows = []
    for module in suite():
        is_marked = "pytestmark = pytest.mark.hypothesis" in module.text
        for function, _ in functions(module) if module.path.startswith(("tests/transforms/", "tests/ingest/")) else ():
            drawing = [one for one in ast.walk(function) if isinstance(one, ast.FunctionDef) and one is not function]
            words = [ast.unparse(decorator) for one in drawing for decorator in one.decorator_list]
            own = [ast.unparse(decorator) for decorator in function.decorator_list]
            if any(word.startswith("given(") for word in words) and not is_marked and "pytest.mark.hypothesis" not in own:
                rows.append(f"{module.at(function)} {function.name} is not marked: pytestmark = pytest.mark.hypothesis")
    assert_none(rows)
