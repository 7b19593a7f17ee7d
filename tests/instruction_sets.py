#!/usr/bin/env python3
"""Checks that no inline function compiled for one instruction set can be linked into code for another.

usage: instruction_sets.py BUILD_DIRECTORY

An inline function or template that a compiler emits out of line is a weak symbol, and the linker keeps one copy of it: if
that were the AVX-512 one, the program would die on a CPU without. So every weak symbol in the objects of
kernels/cpu/per_isa must belong to the namespace of its instruction set (annulus::cpu::avx512 and so on).
"""
import pathlib
import subprocess
import sys


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    objects = sorted(pathlib.Path(sys.argv[1]).glob("CMakeFiles/annulus_kernels_*/**/*.o"))
    found = {path.relative_to(sys.argv[1]).parts[1].removeprefix("annulus_kernels_").removesuffix(".dir") for path in objects}
    assert "plain" in found, f"no objects of per_isa files below {sys.argv[1]}"
    problems = []
    for path in objects:
        name = path.relative_to(sys.argv[1]).parts[1].removeprefix("annulus_kernels_").removesuffix(".dir")
        table = subprocess.run(["nm", "--demangle", str(path)], capture_output=True, text=True, check=True).stdout
        for line in table.splitlines():
            kind, _, symbol = line[17:].partition(" ")
            if kind in "WVu" and f"annulus::cpu::{name}::" not in symbol and not symbol.startswith("DW.ref."):
                problems.append(f"{path.name} ({name}): {symbol}")
    print("\n".join(problems) or f"{len(objects)} objects of {', '.join(sorted(found))}: no shared inline functions")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
