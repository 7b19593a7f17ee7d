#!/usr/bin/env python3
"""What a run tells: every field of metrics.jsonl, and the rows of the benchmark."""
import json
import math
import os

import annulus_runner as annulus

STEP_FIELDS = ["step", "tokens", "loss", "grad_norm", "learning_rate", "seconds", "tokens_per_second", "mfu",
               "wait_fraction", "peak_memory_bytes"]
VALIDATION_FIELDS = ["step", "val_loss", "val_loss_by_position"]
ROW_FIELDS = ["name", "shape", "dtype", "isa", "threads", "gflops", "fraction", "wall_seconds", "cpu_seconds",
              "contended"]

OPS = ["rms_norm", "rms_norm backward", "rope", "swiglu", "swiglu backward", "add", "cross_entropy", "embedding",
       "embedding backward", "sum_of_squares", "adamw"]


class Metrics(annulus.TestCase):
    def test_every_field(self):
        run = annulus.TinyRun(self.directory / "run", {"train.validate_every": 4, "train.log_every": 3}, ranks=3)
        result = run.train()
        self.assertDone(result)
        lines = run.metrics()
        steps = [line for line in lines if "loss" in line]
        validations = [line for line in lines if "val_loss" in line]
        self.assertEqual([line["step"] for line in steps], list(range(1, 9)))
        self.assertEqual([line["step"] for line in validations], [4, 8])
        tokens = annulus.TINY["data.global_batch"] * annulus.TINY["data.sequence_length"]
        for line in steps:
            self.assertEqual(list(line), STEP_FIELDS)
            self.assertEqual(line["tokens"], line["step"] * tokens)
            self.assertGreater(line["grad_norm"], 0)
            self.assertGreater(line["seconds"], 0)
            self.assertAlmostEqual(line["tokens_per_second"] * line["seconds"] / tokens, 1, delta=1e-4)
            self.assertTrue(0 < line["mfu"] < 1.5, line)  # of a peak that other work may have made look lower
            self.assertTrue(0 <= line["wait_fraction"] <= 1, line)
            self.assertTrue(2**20 < line["peak_memory_bytes"] < 2**40, line)
        highest, lowest = annulus.TINY["train.learning_rate"], annulus.TINY["train.min_learning_rate"]
        self.assertEqual([line["learning_rate"] for line in steps][:2], [highest / 2, highest])
        self.assertEqual(steps[-1]["learning_rate"], lowest)
        for line in validations:
            self.assertEqual(list(line), VALIDATION_FIELDS)
            self.assertEqual(len(line["val_loss_by_position"]), 16)
            self.assertTrue(min(line["val_loss_by_position"]) < line["val_loss"] < max(line["val_loss_by_position"]))
        printed = [line.split()[1] for line in result.out.splitlines() if line.startswith("step ") and " tok/s " in line]
        self.assertEqual(printed, ["3/8", "6/8", "8/8"])

    def test_losses_have_all_their_digits(self):
        """So that two runs can be compared bit for bit: read and written again, a number is the same."""
        run = annulus.TinyRun(self.directory / "digits")
        self.assertDone(run.train())
        for line in run.metrics_file.read_text().splitlines():
            for name in ("loss", "grad_norm", "learning_rate"):
                text = line.split(f'"{name}": ')[1].split(",")[0]
                self.assertEqual(float(text), float(f"{float(text):.17g}"))
        losses = [str(line["loss"]) for line in run.metrics()]
        self.assertGreater(max(len(loss) for loss in losses), 15)


class Benchmark(annulus.TestCase):
    def test_rows(self):
        path = self.directory / "rows.json"
        result = annulus.run(["bench", "attention", "--length=64", "--length=100", "--width=8", "--repeat=1",
                              f"--json={path}"])
        self.assertDone(result)
        report = json.loads(path.read_text())
        self.assertGreater(report["peak_gflops"], 0)
        shapes = [f"N{n} H2 D8 {mask}" for n in (64, 100) for mask in ("full", "causal")]
        self.assertEqual([(row["name"], row["shape"]) for row in report["rows"]],
                         [(name, shape) for shape in shapes for name in ("forward", "backward")])
        for row in report["rows"]:
            self.assertEqual(sorted(row), sorted(ROW_FIELDS))
            self.assertEqual((row["dtype"], row["threads"]), ("f32", 1))
            self.assertIn(row["isa"], ("plain", "avx2", "avx512", "avx512_bf16"))
            self.assertAlmostEqual(row["fraction"], row["gflops"] / report["peak_gflops"], delta=1e-3)
            self.assertTrue(0 < row["wall_seconds"] and math.isfinite(row["gflops"]), row)
            self.assertIn(row["contended"], (True, False))
            self.assertIn(row["shape"], result.out)

    def test_products_and_ops(self):
        path = self.directory / "rows.json"
        for dtype in ("f32", "bf16"):
            with self.subTest(dtype):
                options = ["--repeat=1", f"--dtype={dtype}", f"--json={path}"]
                result = annulus.run(["bench", "gemm", "--tokens=7", "--width=64", *options])
                self.assertDone(result)
                rows = json.loads(path.read_text())["rows"]
                layers = ["in64 out192", "in64 out64", "in64 out384", "in192 out64"]
                self.assertEqual([(row["name"], row["shape"]) for row in rows],
                                 [(name, f"M7 {layer}") for layer in layers for name in ("forward NT", "dx NN", "dW TN")])
                for row in rows:
                    self.assertEqual(sorted(row), sorted(ROW_FIELDS))
                    self.assertEqual(row["dtype"], dtype)
                    self.assertTrue(0 < row["gflops"] and row["fraction"] <= 1, row)
                worst = min(rows, key=lambda row: row["fraction"])
                self.assertIn(f"worst: {worst['name']} {worst['shape']}", result.out)

                result = annulus.run(["bench", "ops", "--tokens=70", *options])
                self.assertDone(result)
                report = json.loads(path.read_text())
                self.assertEqual([row["name"] for row in report["rows"]], OPS)
                for row in report["rows"]:
                    self.assertAlmostEqual(row["fraction"], row["gigabytes_per_second"] / report["copy_gigabytes_per_second"],
                                           delta=1e-3)
        self.assertFails(annulus.run(["bench", "gemm", "--dtype=f16"]), 64, "--dtype=f16", "f32 or bf16")

    def test_ring(self):
        """Every way of doing the same work is measured, and compared with the ring; messages also with their traffic."""
        path = self.directory / "ring.json"
        options = ["bench", "ring", "--heads=2", "--width=8", "--repeat=1"]
        ways = {("--in-process-ranks=2", 1): ["ring", "no communication"],
                ("--transport=mpi", 2): ["ring", "no communication", "traffic alone"]}
        for (option, ranks), names in ways.items():
            with self.subTest(option):
                result = annulus.run([*options, option, "--tokens=6", "--kv-heads=1", "--dtype=bf16", f"--json={path}"], ranks)
                self.assertDone(result)
                self.assertIn("cores: 2 ranks x 1 thread on core", result.out)
                report = json.loads(path.read_text())
                for direction in ("forward", "backward"):
                    rows = [row for row in report["rows"] if row["direction"] == direction]
                    self.assertEqual([row["name"] for row in rows][:len(names)], names)
                    for row in rows:
                        self.assertEqual((row["tokens_per_rank"], row["dtype"]), (6, "bf16"))
                        self.assertAlmostEqual(row["efficiency_of_ring"], row["wall_seconds"] / rows[0]["wall_seconds"])
                        self.assertEqual(row["fraction"] == 0, row["name"] == "traffic alone")
                        if row["name"] == "no communication":
                            self.assertEqual(row["wait_seconds"], 0)
        self.assertFails(annulus.run([*options, "--tokens=7"]), 64, "--tokens=7", "even")
        self.assertFails(annulus.run([*options, "--kv-heads=3"]), 64, "bench ring")

    def test_step(self):
        """The parts are the whole, and their work is the model's."""
        config = annulus.TinyRun(self.directory / "run", {"data.path": "none"}).config
        path = self.directory / "step.json"
        for ranks in (1, 2):
            result = annulus.run(["bench", "step", f"--model={config}", "--repeat=3", "--threads=1", f"--json={path}"], ranks)
            self.assertDone(result)
            report = json.loads(path.read_text())
            (row,) = report["rows"]
            self.assertEqual((row["ranks"], row["dtype"], row["threads"]), (ranks, "f32", 1))
            self.assertAlmostEqual(sum(part["seconds"] for part in row["parts"]) / row["wall_seconds"], 1, delta=1e-3)
            if ranks == 1:
                flops = row["fraction"] * row["wall_seconds"] * report["peak_gflops"] * 1e9
                self.assertAlmostEqual(sum(part["flops"] for part in row["parts"]) / flops, 1, delta=1e-3)
        self.assertFails(annulus.run(["bench", "step", "--model=large"]), 64, "--model=large", "124m")

    def test_a_file_that_cannot_be_written(self):
        result = annulus.run(["bench", "attention", "--length=64", "--width=8", "--repeat=1",
                              f"--json={self.directory / 'none' / 'rows.json'}"])
        self.assertFails(result, 73, os.path.join("none", "rows.json"))


if __name__ == "__main__":
    annulus.main()
