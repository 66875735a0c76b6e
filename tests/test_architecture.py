"""Imports go strictly down the ranks; a provider's name stands as a literal only under providers/ and in data."""

import ast
from collections.abc import Iterator
from pathlib import Path

from wayport.providers import registry

SOURCE = Path(__file__).parent.parent / "src" / "wayport"

RANKS = {
    "core": 0, "client": 0,
    "config": 1, "wire": 1, "catalog": 1,
    "dialects": 2, "storage": 2,
    "providers": 3,
    "upstream": 4,
    "access": 5, "routing": 5, "ledger": 5, "cache": 5, "guardrails": 5, "observe": 5,
    "pipeline": 6, "mcp": 6,
    "control": 7,
    "server": 8,
    "cli": 9,
}  # fmt: skip


def package_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "wayport" and len(parts) > 1 else None


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "wayport":
                yield from ((node.lineno, f"wayport.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def test_imports_go_down_the_ranks() -> None:
    wrong = []
    for path in SOURCE.rglob("*.py"):
        own = path.relative_to(SOURCE).parts[0]
        if own not in RANKS:
            continue
        for line, module in imports(path):
            other = package_of(module)
            if other is None or other in (own, "__version__"):
                continue
            if other not in RANKS or RANKS[other] >= RANKS[own]:
                wrong.append(f"{path.relative_to(SOURCE)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_every_package_has_a_rank() -> None:
    packages = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert packages <= set(RANKS), packages - set(RANKS)


# Words that are a provider's name or alias and another thing as well, and where they mean that other thing.
OTHER_MEANINGS: dict[str, str | tuple[str, ...]] = {
    "wayport": "",  # ourselves
    "cohere_chat": "",  # a dialect
    "openai": (
        "dialects/",
        "server/endpoints/models.py",
    ),  # an issuer of sealed reasoning; what clients expect as owner
    "anthropic": "dialects/",  # an issuer
    "gemini": "dialects/",  # an issuer
    "bedrock": "dialects/",  # an issuer
    "google": "dialects/",  # a field of OpenAI's format that carries Google's signatures
}


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a file without its docstrings."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_a_providers_name_stands_in_data_and_under_providers_only() -> None:
    provider_names = {name for row in registry.all() for name in (row.name, *row.aliases)}
    wrong = []
    for path in SOURCE.rglob("*.py"):
        own = path.relative_to(SOURCE).as_posix()
        if own.startswith("providers/"):
            continue
        for line, word in literals(path):
            if word in provider_names and not own.startswith(OTHER_MEANINGS.get(word, "/")):
                wrong.append(f"{own}:{line} says {word!r}")
    assert not wrong, "\n".join(wrong)
