#!/usr/bin/env python3
"""Checks every #include against the ```layers block of docs/ARCHITECTURE.md.

usage: layers.py REPOSITORY            exit status 1 and one line per violation
       layers.py --self-test

Two kinds of rule; the longest matching prefix wins:
    model -> runtime/core kernels comm     files under model/ may include these folders and their own
    <mpi.h> in comm/mpi_ launch/           system headers that start so may stand only in files that start so
"""
import pathlib
import re
import sys
import tempfile

SOURCES = {".h", ".cpp", ".cu", ".cuh"}
FOLDERS = ("runtime", "kernels", "comm", "model", "launch", "tests")


def read_rules(text):
    block = re.search(r"```layers\n(.*?)```", text, re.S)
    if not block:
        sys.exit("docs/ARCHITECTURE.md has no ```layers block")
    allowed, homes = {}, {}
    for line in filter(None, map(str.strip, block[1].splitlines())):
        if "->" in line:
            name, targets = (part.strip() for part in line.split("->"))
            allowed[name] = targets.split()
        else:
            header, places = line.split(" in ", 1)
            homes[header.strip()] = tuple(places.split())
    return allowed, homes


def layer_of(path, allowed):
    matches = [name for name in allowed if path.startswith(name + "/")]
    return max(matches, key=len, default=None)


def violations(root, allowed, homes):
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in SOURCES:
                continue
            path = file.relative_to(root).as_posix()
            mine = layer_of(path, allowed)
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
                include = re.match(r'\s*#\s*include\s*(["<][^">]+[">])', line)
                if not include:
                    continue
                target = include[1]
                if target[0] == "<":
                    for header, places in homes.items():
                        if target.startswith(header) and not path.startswith(places):
                            yield f"{path}:{number}: {target} belongs only in {' '.join(places)}"
                    continue
                theirs = layer_of(target[1:-1], allowed)
                if theirs is None:
                    yield f"{path}:{number}: {target} is not written from the repository root"
                elif theirs != mine and "*" not in allowed[mine] and theirs not in allowed[mine]:
                    yield f"{path}:{number}: {mine} may not include {theirs} ({target})"


def self_test():
    """The check itself must be able to fail."""
    rules = read_rules("```layers\na/core ->\na -> a/core\nb -> a\nt -> *\n<x.h> in b/x_\n```")
    cases = {"a/one.h": '#include "b/two.h"', "b/two.h": "#include <x.h>", "a/core/c.h": '#include "a/one.h"',
             "b/three.h": '#include "two.h"', "b/x_ok.h": "#include <x.h>", "b/ok.h": '#include "a/one.h"',
             "t/ok.h": '#include "b/two.h"'}
    global FOLDERS
    FOLDERS = ("a", "b", "t")
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in cases.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text + "\n")
        found = sorted(problem.split(":")[0] for problem in violations(root, *rules))
    assert found == ["a/core/c.h", "a/one.h", "b/three.h", "b/two.h"], found


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    self_test()
    if sys.argv[1] == "--self-test":
        return
    root = pathlib.Path(sys.argv[1])
    problems = list(violations(root, *read_rules((root / "docs/ARCHITECTURE.md").read_text())))
    print("\n".join(problems) or "layers ok")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
