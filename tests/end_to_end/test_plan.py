#!/usr/bin/env python3
"""`annulus plan` says what a run then takes."""
import pathlib
import re

import annulus_runner as annulus
from annulus_runner import TinyRun


def memory_of_plan(text):
    """Category -> amount, as printed."""
    part = text.split("memory of the rank")[1].split("\nwork\n")[0]
    return {name.strip(): amount for name, amount in re.findall(r"^  ([a-z ]+?)  +(\S+ \S+)", part, re.M)}


def memory_of_run(text):
    total, parts = re.search(r"memory per rank: (\S+ \S+) \((.*)\)", text).groups()
    uses = {" ".join(part.split()[:-2]): " ".join(part.split()[-2:]) for part in parts.split(", ")}
    program = uses.pop("program")  # is measured when the run starts
    return {**uses, "together": f"{amount(total) - amount(program):.0f}"}


UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def amount(text):
    number, unit = text.split()
    return float(number) * UNITS[unit]


class Plan(annulus.TestCase):
    def test_its_memory_is_that_of_the_run(self):
        cases = {"shared": ({}, 3), "messages": ({"parallel.transport": "mpi"}, 3), "alone": ({}, 1),
                 "two rings": ({"parallel.dp": 2, "parallel.cp": 2, "data.global_batch": 4}, 4),
                 "recomputed": ({"train.recompute": "block", "train.mlp_tile": 16}, 3),
                 "validated": ({"train.validate_every": 2, "train.micro_batch": 3}, 3),
                 "bf16": ({"train.dtype": "bf16"}, 3),
                 "bf16 by messages": ({"train.dtype": "bf16", "parallel.transport": "mpi"}, 3)}
        for name, (changes, ranks) in cases.items():
            with self.subTest(name):
                run = TinyRun(self.directory / name, {"data.sequence_length": 72, "train.steps": 2, **changes}, ranks)
                planned = annulus.run(["plan", "config.toml"], cwd=run.directory)
                self.assertDone(planned)
                self.assertFalse(run.path.exists())
                result = run.train()
                self.assertDone(result)
                plan, run_took = memory_of_plan(planned.out), memory_of_run(result.out)
                together, run_together = amount(plan.pop("together")), float(run_took.pop("together"))
                self.assertEqual(plan, run_took)
                self.assertAlmostEqual(together, run_together, delta=0.02 * 2**20)  # what is printed is rounded

    def test_the_plan_is_within_5_percent_of_what_is_used(self):
        """Memory that a run holds after steps, validation and checkpoint, beside what it announced before step one."""
        model = {"model.width": 320, "model.layers": 3, "model.heads": 5, "model.kv_heads": 5, "data.sequence_length": 1500,
                 "train.steps": 2, "train.validate_every": 2, "data.global_batch": 2}
        cases = {"alone": ({}, 1), "shared": ({"parallel.placement": "striped"}, 3),
                 "messages, recomputed": ({"parallel.transport": "mpi", "train.recompute": "block"}, 2),
                 "threads": ({"parallel.in_process_ranks": 2, "parallel.cp": 2}, 1),
                 "bf16": ({"train.dtype": "bf16"}, 2)}
        for name, (changes, ranks) in cases.items():
            with self.subTest(name):
                run = TinyRun(self.directory / f"used {name}", {**model, **changes}, ranks)
                result = run.train()
                self.assertDone(result)
                planned, used = re.search(r"memory of all ranks: (\S+ \S+) planned, at most (\S+ \S+) used", result.out).groups()
                self.assertAlmostEqual(amount(used) / amount(planned), 1.0, delta=0.05, msg=result.out)

    def test_settings_that_would_fit_are_named_and_do(self):
        """Each that the message names, taken by itself, is planned to fit into the memory that there is."""
        # 64 sequences of such a model take about 45 MB for each token of theirs: four times what this machine has.
        length = max(2000, 4 * int(re.search(r"MemAvailable: +(\d+) kB", pathlib.Path("/proc/meminfo").read_text())[1]) // 44000)
        run = TinyRun(self.directory / "too much", {
            "data.sequence_length": length, "data.global_batch": 64, "train.micro_batch": 64, "train.validate_every": 4,
            "model.width": 8192, "model.heads": 64, "model.kv_heads": 64})
        annulus.write_text(run.directory / "text.txt", sums=length)
        refused = run.train()
        self.assertFails(refused, 71, "this run needs", "each of these would fit")
        left = re.search(r"this node has (\S+) GiB left", refused.err)[1]
        self.assertIn("--data.sequence_length", refused.err)
        settings = re.findall(r"--([a-z_.]+=\w+)", refused.err.split("would fit:")[1])
        self.assertGreaterEqual(len(settings), 2, refused.err)
        for setting in settings:
            planned = annulus.run(["plan", "config.toml", f"--{setting}", f"--memory={left}"], cwd=run.directory)
            self.assertDone(planned)
            self.assertNotIn("does not fit", planned.out, setting)
        self.assertIn("does not fit", annulus.run(["plan", "config.toml", f"--memory={left}"], cwd=run.directory).out)

    def test_the_longest_sequence_fits_and_no_longer_one(self):
        run = TinyRun(self.directory / "longest")
        options = ["plan", "config.toml", "--ranks=4", "--memory=0.05"]
        longest = int(re.search(r"about (\d+) tokens", annulus.run(options, cwd=run.directory).out)[1])
        for length, fits in ((longest, True), (longest * 11 // 10, False)):
            # The text is too short for such a sequence, which matters to a run and not to its size.
            annulus.write_text(run.directory / "text.txt", sums=length // 8)
            result = annulus.run([*options, f"--data.sequence_length={length}"], cwd=run.directory)
            self.assertDone(result)
            self.assertEqual("does not fit" in result.out, not fits, result.out)

    def test_any_number_of_ranks(self):
        run = TinyRun(self.directory / "ranks")
        result = annulus.run(["plan", "config.toml", "--ranks=1000", "--parallel.dp=10", "--memory=0.01"], cwd=run.directory)
        self.assertDone(result)
        self.assertIn("1000 ranks = dp 10 x cp 100", result.out)

    def test_nodes(self):
        """A block of T tokens crosses to each other node once; gradients cross where the ring does."""
        run = TinyRun(self.directory / "nodes", {"data.sequence_length": 64, "train.micro_batch": 3}, 8)
        block = 3 * (64 // 8) * 1 * (16 + 16)  # sequences, tokens, key/value heads, both widths
        cases = {1: ("mpi", 7, 7), 2: ("nodes (4 nodes of 2 ranks)", 6, 7),  # blocks that cross, gradients that do
                 3: ("nodes (3 nodes of 2 to 3 ranks)", 6, 7), 4: ("nodes (2 nodes of 4 ranks)", 4, 7), 8: ("shared", 0, 0)}
        for ranks, dtype, (transport, blocks, gradients) in [(ranks, dtype, case) for ranks, case in cases.items()
                                                             for dtype in ("f32", "bf16")]:
            forward = block * blocks * (2 if dtype == "bf16" else 4)
            backward = forward + block * gradients * 4
            with self.subTest(ranks_per_node=ranks, dtype=dtype):
                result = annulus.run(["plan", "config.toml", f"--ranks-per-node={ranks}", "--memory=0.01",
                                      f"--train.dtype={dtype}"], cwd=run.directory)
                self.assertDone(result)
                lines = dict(re.findall(r"^  (\S.*?)  +(\S.*)$", result.out, re.M))
                self.assertEqual(lines["transport"], transport)
                for way, expected in (("forward", forward), ("backward", backward)):
                    self.assertEqual(lines[way], f"{expected / 1024:.2f} KiB" if expected else "0 B")

    def test_what_it_refuses(self):
        run = TinyRun(self.directory / "refused")
        cases = {"ranks that make no rings": (["config.toml", "--ranks=4", "--parallel.dp=3"], 64, ["--ranks=4", "3 rings"]),
                 "no config": ([], 64, ["config"]),
                 "a typo": (["config.toml", "--train.stpes=3"], 64, ["train.steps"]),
                 "no data": (["config.toml", "--data.path=none.txt"], 65, ["none.txt"])}
        for name, (options, code, mentions) in cases.items():
            with self.subTest(name):
                self.assertFails(annulus.run(["plan", *options], cwd=run.directory), code, *mentions)
        self.assertFails(annulus.run(["plan", "config.toml"], 3, cwd=run.directory), 64, "one rank")


if __name__ == "__main__":
    annulus.main()
