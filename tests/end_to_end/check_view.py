#!/usr/bin/env python3
"""Check that view.h5 of a checkpoint shows every tensor whole, by h5py alone.

usage: check_view.py CHECKPOINT     prints what was compared; exit status 1 and one line per mismatch
"""
import pathlib
import sys

import h5py
import numpy as np


def datasets_of(file):
    found = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return found


def read_parts(directory, problems):
    """The tensors of all part files, put together from their rows, and how often each row was there."""
    tensors, counts = {}, {}
    paths = sorted(directory.glob("part-*.h5"))
    for path in paths:
        with h5py.File(path, "r") as file:
            for name, rows in datasets_of(file).items():
                if name == "config":
                    continue
                shape = tuple(int(dim) for dim in rows.attrs["global_shape"])
                first, count = int(rows.attrs["first_row"]), int(rows.attrs["rows"])
                bytes_of_number = {b"f32": 4, b"bf16": 2}.get(rows.attrs["dtype"])  # h5py shows either as float32
                if (rows.id.get_type().get_size() != bytes_of_number or rows.dtype != np.dtype("<f4")
                        or rows.shape != (count, *shape[1:])):
                    problems.append(f"{path.name}: /{name} disagrees with its attributes")
                    continue
                tensor = tensors.setdefault(name, np.zeros(shape, np.float32))
                if tensor.shape != shape:
                    problems.append(f"{path.name}: /{name} has shape {shape}, elsewhere {tensor.shape}")
                    continue
                tensor[first:first + count] = rows[...]
                counts.setdefault(name, np.zeros(shape[0], int))[first:first + count] += 1
    for name, count in counts.items():
        if np.any(count != 1):
            problems.append(f"/{name}: {np.count_nonzero(count != 1)} rows are not in exactly one part")
    return tensors, len(paths)


def compare(directory, tensors, problems):
    with h5py.File(directory / "view.h5", "r") as view:
        shown = datasets_of(view)
        for name in sorted(set(shown) ^ set(tensors)):
            problems.append(f"/{name} is only in {'view.h5' if name in shown else 'the parts'}")
        for name in sorted(set(shown) & set(tensors)):
            dataset, tensor = shown[name], tensors[name]
            if not dataset.is_virtual:
                problems.append(f"/{name}: not a virtual dataset")
            for source in dataset.virtual_sources():
                if "/" in source.file_name:
                    problems.append(f"/{name}: names {source.file_name}, which does not move with the directory")
            if dataset.shape != tensor.shape or dataset.dtype != tensor.dtype:
                problems.append(f"/{name}: {dataset.shape} {dataset.dtype} in the view, {tensor.shape} in the parts")
            elif dataset[...].tobytes() != tensor.tobytes():
                problems.append(f"/{name}: the view shows other bits than the parts hold")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    problems = []
    tensors, parts = read_parts(directory, problems)
    compare(directory, tensors, problems)
    for problem in problems:
        print(f"{directory}: {problem}")
    floats = sum(tensor.size for tensor in tensors.values())
    print(f"{directory}: compared view.h5 with {parts} parts: {len(tensors)} tensors, {floats} floats, "
          f"{len(problems)} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
