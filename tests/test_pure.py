"""What says of itself that it is pure is under the contract that holds it to that."""

import ast
import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SAYS = re.compile(r"\bPure\b|: pure\b")


def says_pure(path: Path) -> bool:
    return bool(SAYS.search(ast.get_docstring(ast.parse(path.read_text())) or ""))


def name(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def test_the_contract_names_all_modules_that_say_they_are_pure_and_no_other() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = [one for one in settings["contracts"] if one["name"].startswith("pure:")]
    modules = {
        name(path): path
        for room in settings["root_packages"]
        for path in PROJECT.glob(f"{room}/**/*.py")
    }
    under = {
        module
        for module in modules
        for held in contract["source_modules"]
        if f"{module}.".startswith(f"{held}.")
    }
    assert under == {module for module, path in modules.items() if says_pure(path)}
