#!/usr/bin/env python3
"""Training in bf16 as its users see it: checkpoints with f32 masters, going on in the other dtype, and what is said."""
import json
import shutil

import h5py
import numpy as np

import annulus_runner as annulus
from annulus_runner import TinyRun
from test_resume import EVERY_FOUR, STANDSTILL, tensors_of

BF16 = {"train.dtype": "bf16"}


def rounded(values):
    """To bf16 (to nearest, ties to even), as f32."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def group(tensors, name):
    return {key.removeprefix(name + "/"): value for key, value in tensors.items() if key.startswith(name + "/")}


class Checkpoints(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.saved = {dtype: TinyRun(cls.directory / dtype, {**EVERY_FOUR, "train.dtype": dtype}, ranks=3)
                     for dtype in ("f32", "bf16")}
        cls.results = {dtype: run.train() for dtype, run in cls.saved.items()}

    def setUp(self):
        for result in self.results.values():
            self.assertDone(result)

    def resume(self, saved, name, *options, ranks=None):
        run = self.saved[saved]
        result = run.train(f"--resume={run.checkpoint(4)}", f"--run.name={name}", *options, ranks=ranks)
        self.assertDone(result)
        return result, run.path.with_name(name)

    def assertEqualTensors(self, got, expected):
        self.assertEqual(sorted(got), sorted(expected))
        for name, values in expected.items():
            np.testing.assert_array_equal(got[name], values, err_msg=name)

    def test_weights_are_the_masters_rounded(self):
        tensors = tensors_of(self.saved["bf16"].checkpoint(8))
        self.assertEqual({name.split("/")[0] for name in tensors}, {"model", "master", "optimizer"})
        masters, weights = group(tensors, "master"), group(tensors, "model")
        self.assertEqualTensors(weights, {name: rounded(values) for name, values in masters.items()})
        self.assertTrue(any(np.any(weights[name] != masters[name]) for name in masters), "masters have no more digits")

    def test_a_weight_takes_two_bytes(self):
        for path in self.saved["bf16"].checkpoint(8).glob("part-*.h5"):
            with h5py.File(path) as part:
                def check(name, item):
                    if isinstance(item, h5py.Dataset) and name != "config":
                        dtype = "bf16" if name.startswith("model/") else "f32"
                        self.assertEqual(item.attrs["dtype"].decode(), dtype, name)
                        self.assertEqual(item.id.get_storage_size(), item.size * (2 if dtype == "bf16" else 4), name)
                part.visititems(check)

    def test_inspect_says_what_is_what(self):
        for dtype, version in (("f32", 1), ("bf16", 2)):
            path = self.saved[dtype].checkpoint(8)
            result = annulus.run(["inspect", path, "--json=report.json"], cwd=self.directory)
            self.assertDone(result)
            report = json.loads((self.directory / "report.json").read_text())
            self.assertEqual((report["schema_version"], report["intact"]), (version, True))
            tensors = tensors_of(path)
            for tensor in report["tensors"]:
                values = tensors[tensor["name"][1:]]
                self.assertEqual(tensor["dtype"], dtype if tensor["name"].startswith("/model/") else "f32")
                self.assertEqual((tensor["min"], tensor["max"]), (values.min(), values.max()))

    def test_the_state_loads_on_other_ranks(self):
        before = tensors_of(self.saved["bf16"].checkpoint(4))
        expected = {name: tensor * np.float32(0.5) if name.startswith("optimizer/") else tensor
                    for name, tensor in before.items()}
        for name, options, ranks in (("one", ["--parallel.cp=1"], 1), ("four", ["--parallel.dp=2", "--parallel.cp=2"], 4)):
            _, path = self.resume("bf16", name, *options, *STANDSTILL, ranks=ranks)
            self.assertEqualTensors(tensors_of(path / "checkpoints" / "step-00000005"), expected)

    def test_going_on_in_the_other_dtype(self):
        """The numbers that a run goes on from are those that it had, in full."""
        for saved, other in (("f32", "bf16"), ("bf16", "f32")):
            with self.subTest(f"{saved} to {other}"):
                result, path = self.resume(saved, f"in-{other}", f"--train.dtype={other}", *STANDSTILL)
                self.assertIn(f"trained in {saved}; this run goes on in {other}", result.out)
                before, after = tensors_of(self.saved[saved].checkpoint(4)), tensors_of(path / "checkpoints/step-00000005")
                full = group(before, "master" if saved == "bf16" else "model")
                self.assertEqualTensors(group(after, "master" if other == "bf16" else "model"), full)
                self.assertEqualTensors(group(after, "optimizer"),
                                        {name: 0.5 * values for name, values in group(before, "optimizer").items()})

    def test_sample_writes_text(self):
        """The same, whether the run's directory or a copy of its checkpoint alone is there."""
        texts = []
        for path in (self.saved["bf16"].path, self.directory / "copy"):
            if not path.exists():
                shutil.copytree(self.saved["bf16"].checkpoint(8), path)
            result = annulus.run(["sample", path, "--prompt=1 + 1", "--length=20", "--temperature=0"])
            self.assertDone(result)
            texts.append(result.out)
        self.assertEqual(texts[0], texts[1])
        self.assertTrue(texts[0].startswith("1 + 1"))


class Start(annulus.TestCase):
    def test_it_says_what_it_computes_in(self):
        """A processor without products of bf16 computes all the same, and says how."""
        isas = next(line for line in annulus.run(["--version"]).out.splitlines() if line.startswith("instruction sets"))
        losses, steps = {}, {"train.steps": 8}
        f32 = TinyRun(self.directory / "f32", steps)
        self.assertDone(f32.train("--isa=plain"))
        for isa in isas.split(": ")[1].split(", "):
            run = TinyRun(self.directory / isa, steps)
            result = run.train("--dtype=bf16", f"--isa={isa}")
            self.assertDone(result)
            self.assertIn(f"bf16 on {isa}, transport", result.out)
            notes = [line for line in result.out.splitlines() if "widened" in line]
            self.assertEqual(len(notes), 0 if isa == "avx512_bf16" else 1, result.out)
            machine, products = json.loads((run.path / "machine.json").read_text()), "f32" if notes else "bf16"
            self.assertEqual((machine["dtype"], machine["peak_dtype"]), ("bf16", products))
            self.assertIn(f" GFLOP/s in {products}\n", result.out)
            losses[isa] = annulus.losses(run.metrics())
        # Another order of sums, and rounded in between (docs/NUMERICS.md, "bf16").
        furthest = max(abs(loss - losses["plain"][step]) for step, loss in annulus.losses(f32.metrics()).items())
        for isa, steps in losses.items():
            for step, loss in steps.items():
                self.assertLessEqual(abs(loss - losses["plain"][step]), 2.5 * furthest, f"{isa} step {step}")

    def test_what_is_refused(self):
        run = TinyRun(self.directory / "refused")
        for option in ("--dtype=f16", "--train.dtype=f16", "--dtype=fp8"):
            self.assertFails(run.train(option), 64, "train.dtype", "f32", "bf16")
        self.assertFalse(run.path.exists())


if __name__ == "__main__":
    annulus.main()
