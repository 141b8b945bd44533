"""Finds Rust files of the workspace that import each other, directly or in a ring. Exits 1 and names them if there are any.

What counts is `use` outside of tests, followed through re-exports (`pub use`) to the file that has the name. A re-export by
itself is no import, nor is what a file takes from the `mod.rs` above it: it is a part of that.
"""

import re
import subprocess
import sys
from pathlib import Path

USE = re.compile(r"^(\s*)(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", re.M)


def expand(tree):
    """The paths of a use tree, as lists of names."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    prefix = [name for name in head.strip().removesuffix("::").split("::") if name]
    if not brace:
        # An alias names the same.
        prefix[-1] = prefix[-1].split(" as ")[0].strip()
        return [prefix]
    parts, depth, begin = [], 0, 0
    body = rest[: rest.rindex("}")]
    for at, letter in enumerate(body):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append(body[begin:at])
            begin = at + 1
    parts.append(body[begin:])
    return [prefix + path for part in parts if part.strip() for path in expand(part)]


class Crate:
    def __init__(self, files):
        """`files`: by module path, a tuple of names."""
        self.files = files
        self.imports, self.exports = {}, {}
        for module, file in files.items():
            text = re.sub(r"//.*", "", file.read_text())
            # Tests are last in a file.
            text = re.split(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))? )?mod \w+ \{", text)[0]
            self.imports[module], self.exports[module] = [], {}
            for _, is_public, tree in USE.findall(text):
                for path in expand(tree):
                    path = self.absolute(module, path)
                    if path is None:
                        continue
                    if is_public:
                        self.exports[module][path[-1]] = path
                    else:
                        self.imports[module].append(path)

    def absolute(self, module, path):
        if path[0] == "crate":
            return tuple(path[1:])
        above = list(module)
        if path[0] == "self":
            return tuple(above + path[1:])
        if path[0] == "super":
            while path and path[0] == "super":
                above.pop()
                path = path[1:]
            return tuple(above + path)
        own = tuple(above + path)
        return own if own[: len(module) + 1] in self.files else None

    def owner(self, path, seen=()):
        """The module whose file has what a path names; none: of another crate, or everything of a module."""
        if path in self.files:
            return path
        at = next((path[:end] for end in range(len(path) - 1, -1, -1) if path[:end] in self.files), None)
        if at is None or path in seen:
            return None
        target = self.exports[at].get(path[len(at)])
        return self.owner(target, (*seen, path)) if target else at

    def arrows(self):
        for module, paths in self.imports.items():
            owners = {self.owner(path) for path in paths if path}
            yield module, {owner for owner in owners if owner is not None and module[: len(owner)] != owner}


def rings(arrows):
    """The groups of more than one that all reach each other (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in arrows.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in arrows:
        if node not in index:
            visit(node)
    return found


def crates():
    tracked = subprocess.run(["git", "ls-files", "-z", "*.rs"], check=True, capture_output=True, text=True)
    sources = [Path(name) for name in tracked.stdout.split("\0") if name and Path(name).exists()]
    roots = {file.parent for file in sources if file.name in ("lib.rs", "main.rs")}
    for root in sorted(roots):
        files = {}
        for file in sources:
            if root in file.parents and file.stem != "tests":
                module = file.relative_to(root).with_suffix("").parts
                files[module[:-1] if module[-1] in ("mod", "lib", "main") else module] = file
        yield files


def main():
    bad = False
    for files in crates():
        crate = Crate(files)
        arrows = dict(crate.arrows())
        for ring in rings(arrows):
            bad = True
            print("these files import each other:", file=sys.stderr)
            for module in ring:
                others = [str(files[other]) for other in sorted(arrows[module]) if other in ring]
                print(f"  {files[module]} imports {', '.join(others)}", file=sys.stderr)
    sys.exit(bad)


main()
