#!/usr/bin/env python3
"""Memory of all ranks, planned before step one and held at most, against the sequence length on 1, 2 and 4 ranks.

usage: memory_table.py [--program=build/release/annulus] [--lengths=4096,8192,16384,32768] [--ranks=1,2,4]

Trains two steps of configs/quickstart.toml's model at each length, on random text.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIB = 2.0**20


def train(program, directory, length, ranks):
    name = f"s{length}-p{ranks}"
    subprocess.run([ROOT / "launch" / "run.sh", "-np", str(ranks), "--", "train", ROOT / "configs" / "quickstart.toml",
                    f"--run.name={name}", f"--data.sequence_length={length}", f"--parallel.cp={ranks}", "--data.path=text",
                    "--train.steps=3", "--train.warmup_steps=1", "--train.validate_every=0", "--checkpoint.every=0"],
                   cwd=directory, env={**os.environ, "ANNULUS": str(program)}, check=True, capture_output=True)
    run = directory / "runs" / name
    machine = json.loads((run / "machine.json").read_text())
    return sum(use["bytes"] for use in machine["memory_plan"]), machine["memory_used"]


def main():
    numbers = lambda text: [int(word) for word in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=ROOT / "build" / "release" / "annulus", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--lengths", default=[4096, 8192, 16384, 32768], type=numbers)
    parser.add_argument("--ranks", default=[1, 2, 4], type=numbers)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as path:
        directory = pathlib.Path(path)
        (directory / "text").write_bytes(random.Random(1).randbytes(2 * max(options.lengths)))
        print("| tokens | ranks | planned, MiB | held at most, MiB | difference | held by a rank, MiB |\n|---|---|---|---|---|---|")
        for ranks in options.ranks:
            for length in options.lengths:
                planned, used = train(options.program, directory, length, ranks)
                print(f"| {length} | {ranks} | {planned / MIB:.1f} | {used / MIB:.1f} | {100 * (used / planned - 1):+.1f} % | "
                      f"{used / ranks / MIB:.1f} |", flush=True)


if __name__ == "__main__":
    main()
