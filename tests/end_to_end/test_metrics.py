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

    def test_a_file_that_cannot_be_written(self):
        result = annulus.run(["bench", "attention", "--length=64", "--width=8", "--repeat=1",
                              f"--json={self.directory / 'none' / 'rows.json'}"])
        self.assertFails(result, 73, os.path.join("none", "rows.json"))


if __name__ == "__main__":
    annulus.main()
