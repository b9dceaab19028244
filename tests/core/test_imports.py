"""The arrows between modules: no host in the core, one direction, no feature inside another."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

CORE = Path(__file__).parents[2] / "pakati_core"

HOST = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "nodes", "server", "folder_paths", "execution", "app"}
# Each may import what stands before it, never what stands after.
CHAIN = ["geometry", "masks", "regions", "attention", "canvas"]
# Reached from outside only through the package itself or its `ports`.
FEATURES = {"attention", "lora", "canvas", "judge", "refine", "reference", "plan", "characters", "orders"}

Module = tuple[str, ...]  # ("attention", "plan"); () is pakati_core itself


def modules() -> dict[Module, Path]:
    paths = {path.relative_to(CORE).with_suffix("").parts: path for path in CORE.rglob("*.py")}
    return {name[:-1] if name[-1] == "__init__" else name: path for name, path in paths.items()}


def imports(path: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(node)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.unparse(guard.test)
        for node in ast.walk(guard)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in hidden:
            yield node


def absolute_imports(path: Path) -> set[str]:
    roots = set()
    for node in imports(path):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif not node.level:
            roots.add((node.module or "").split(".")[0])
    return roots


def relative_imports(name: Module, path: Path, known: dict[Module, Path]) -> set[Module]:
    """The modules of the core that this one names, each as far as it is a module: the rest are things inside it."""
    package = name if path.name == "__init__.py" else name[:-1]
    targets = set()
    for node in imports(path):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level - 1 <= len(package), f"{path.name}: line {node.lineno} leaves pakati_core"
            named = tuple(node.module.split(".")) if node.module else ()
            base = package[: len(package) - node.level + 1] + named
            targets |= {base + (alias.name,) if base + (alias.name,) in known else base for alias in node.names}
    return targets - {name}


def graph() -> dict[Module, set[Module]]:
    known = modules()
    return {name: relative_imports(name, path, known) for name, path in known.items()}


def drawn(edges: dict[Module, set[Module]]) -> str:
    lines = [f"  {dotted(name)} -> {', '.join(sorted(map(dotted, to)))}" for name, to in sorted(edges.items()) if to]
    return "\n".join(["the graph:", *lines])


def dotted(name: Module) -> str:
    return ".".join(name) or "pakati_core"


def test_the_core_never_imports_the_host():
    strays = {
        dotted(name): found
        for name, path in modules().items()
        if (found := {root for root in absolute_imports(path) if root in HOST or root.startswith("comfy")})
    }
    assert not strays, f"{strays}\n{drawn(graph())}"


def test_the_core_imports_itself_relatively():
    """ComfyUI names the package by its path, so `import pakati_core` finds nothing there."""
    strays = [dotted(name) for name, path in modules().items() if "pakati_core" in absolute_imports(path)]
    assert not strays, strays


def test_no_module_imports_itself_around_a_corner():
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        circle = " -> ".join(dotted(name) for name in reversed(error.args[1]))
        raise AssertionError(f"{circle}\n{drawn(graph())}") from None


def test_arrows_point_one_way_along_the_chain():
    rank = {unit: place for place, unit in enumerate(CHAIN)}
    backwards = [
        f"{dotted(name)} -> {dotted(target)}"
        for name, targets in graph().items()
        for target in targets
        if name and target and name[0] in rank and rank.get(target[0], -1) > rank[name[0]]
    ]
    assert not backwards, f"{backwards} against {' <- '.join(CHAIN)}\n{drawn(graph())}"


def test_features_keep_out_of_each_others_insides():
    intrusions = [
        f"{dotted(name)} -> {dotted(target)}"
        for name, targets in graph().items()
        for target in targets
        if len(target) > 1 and target[0] in FEATURES and target[1:] != ("ports",) and name[:1] != target[:1]
    ]
    assert not intrusions, f"{intrusions}: import from the package instead\n{drawn(graph())}"


def test_nothing_imports_the_command_line():
    users = [dotted(name) for name, targets in graph().items() if ("cli",) in targets]
    assert not users, f"{users}\n{drawn(graph())}"


def test_the_canvas_needs_no_diffusers():
    """ComfyUI's own Python has none."""
    script = "import sys; sys.modules['diffusers'] = None; import pakati_core.canvas"
    done = subprocess.run([sys.executable, "-c", script], cwd=CORE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
