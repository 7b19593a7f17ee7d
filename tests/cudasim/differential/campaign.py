"""Compares programs of other seeds than the one in every build, for as long as one likes:

campaign.py --build=build/dev --first-seed=100 --rounds=50 [--programs=400] [--inputs=20]

A program that differs stands in FOLDER/programs.inc, which is kept then. generate.py --only=NUMBER makes all of its
variables results.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent
ROOT = SOURCE.parents[2]
OPTIONS = ["-Xcicc -O3", "-Xcicc -O0", "-Xcicc -O1", "-G"]  # nvcc's, all of them in every round


def run(*command):
    return subprocess.run([str(word) for word in command], check=False).returncode == 0


def build(folder, seed, arguments):
    programs = folder / "programs.inc"
    define = f'-DANNULUS_DIFFERENTIAL_PROGRAMS="{programs}"'
    ptx = [folder / f"programs_{i}.ptx" for i in range(len(OPTIONS))]
    made = run(sys.executable, SOURCE / "generate.py", f"--seed={seed}", f"--programs={arguments.programs}", programs)
    made = made and run("g++", "-std=c++20", "-O1", "-ffp-contract=off", "-frounding-math", "-fno-strict-aliasing", "-fPIC",
                        "-shared", f"-I{ROOT}", define, SOURCE / "programs.cpp", "-o", folder / "programs.so")
    for options, output in zip(OPTIONS, ptx):
        made = made and run("nvcc", "-ptx", "-arch=compute_80", "-std=c++20", "--fmad=false", "--diag-suppress=186",
                            *options.split(), f"-I{ROOT}", define, SOURCE / "programs.cu", "-o", output)
    return ptx if made else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--programs", type=int, default=400)
    parser.add_argument("--inputs", type=int, default=20, help="sets of inputs, each of 112 threads")
    arguments = parser.parse_args()
    test = arguments.build / "tests/cudasim/differential/differential_test"
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.rounds):
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"differential_{seed}_"))
        ptx = build(folder, seed, arguments)
        if ptx is None or not run(test.resolve(), folder / "programs.so", arguments.inputs, *ptx):
            sys.exit(f"seed {seed}: see {folder}")
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


if __name__ == "__main__":
    main()
