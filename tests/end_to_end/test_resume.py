#!/usr/bin/env python3
"""Resuming equals never stopping, bit for bit; on other ranks the state loads bit-equal and training goes on alike."""
import ctypes
import os
import shutil
import signal

import h5py
import numpy as np

import annulus_runner as annulus
from annulus_runner import TinyRun

EVERY_FOUR = {"checkpoint.every": 4, "train.validate_every": 4}
LATEST = "--resume=latest"
# Sums over tokens run in another order on other ranks; DESIGN, section 9, allows 20 steps to differ by this much.
OTHER_RANKS_RELATIVE = 1e-5

FOUR_STEPS = ("1-rank", "dp-2-cp-2", "5-threads")  # the others are followed for one step

# One update that keeps parameters exactly and halves both moments exactly: the learning rate is 0 and the gradient is
# clipped to zero (1e-60 is 0 in fp32). So the next checkpoint shows what was loaded.
STANDSTILL = ["--train.steps=5", "--train.warmup_steps=0", "--train.learning_rate=0", "--train.min_learning_rate=0",
              "--train.max_grad_norm=1e-60", "--train.beta1=0.5", "--train.beta2=0.5"]


def files_of(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def tree_of(directory):
    """Every file below but those that say who uses the directory."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != "LOCK"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def tensors_of(checkpoint):
    tensors = {}
    with h5py.File(checkpoint / "view.h5", "r") as view:
        def keep(name, item):
            if isinstance(item, h5py.Dataset):
                tensors[name] = item[...]
        view.visititems(keep)
    return tensors


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def sign(manifest, text):
    """Writes a MANIFEST with the digest that it needs: by the library that annulus uses, Python has none for it."""
    library = ctypes.CDLL("libxxhash.so.0")
    library.XXH3_128bits.restype = Hash128
    library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    digest = library.XXH3_128bits(text, len(text))
    manifest.write_bytes(text + f"digest {digest.high:016x}{digest.low:016x}\n".encode())


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


class ResumingEqualsNeverStopping(annulus.TestCase):
    def run_and_resume(self, name, changes, ranks, threads_as_ranks, by_path):
        """8 steps; then again from step 4, with the metrics of all 8 still there."""
        run = TinyRun(self.directory / name, {**EVERY_FOUR, **changes}, ranks, threads_as_ranks)
        first = run.train()
        if first.code != 0:
            return first, run, None, None
        metrics, checkpoint = run.metrics(), files_of(run.checkpoint(8))
        run.forget(8)
        again = run.train(f"--resume={run.checkpoint(4)}" if by_path else LATEST)
        return again, run, metrics, checkpoint

    def test_bit_for_bit(self):
        two_by_two = {"parallel.dp": 2, "parallel.cp": 2}
        cases = {  # name: changes, ranks, whether they are threads, whether the checkpoint is named
            "1 rank": ({}, 1, False, False),
            "1 rank of 2 threads": ({"parallel.threads": 2}, 1, False, False),
            "2 ranks": ({}, 2, False, False),
            "2 ranks, by path": ({}, 2, False, True),
            "3 ranks": ({}, 3, False, False),
            "4 ranks": ({"parallel.placement": "striped"}, 4, False, False),
            "dp 2 x cp 2": (two_by_two, 4, False, False),
            "3 threads as ranks": ({}, 3, True, False),
            "2 ranks by messages": ({"parallel.transport": "mpi"}, 2, False, False),
            "2 ranks in bf16": ({"train.dtype": "bf16"}, 2, False, False),
            "dp 2 x cp 2 in bf16": ({"train.dtype": "bf16", **two_by_two}, 4, False, True),
        }
        results = annulus.together([lambda name=name, case=case: self.run_and_resume(name, *case)
                                    for name, case in cases.items()])
        for name, (result, run, metrics, checkpoint) in zip(cases, results):
            with self.subTest(name):
                self.assertDone(result)
                self.assertIn("resumed from", result.out)
                self.assertEqual(len(metrics), 10)  # 8 steps, 2 validations
                self.assertSameLines(run.metrics(), metrics)
                again = files_of(run.checkpoint(8))
                self.assertEqual(sorted(again), sorted(checkpoint))
                different = [file for file in again if again[file] != checkpoint[file]]
                self.assertEqual(different, [])

    def test_after_a_crash(self):
        """mpirun is killed, and the ranks with it. No run here gets to its end: what all of them did must agree."""
        changes = {"checkpoint.every": 2, "train.steps": 100000}
        crashed, whole = (TinyRun(self.directory / name, changes, ranks=2) for name in ("crashed", "whole"))
        self.train_and_kill(crashed, [], 5)
        last = self.train_and_kill(crashed, [LATEST], annulus.last_step(crashed.metrics_file) + 5)
        self.train_and_kill(whole, [], last)
        got, expected = annulus.losses(crashed.metrics()), annulus.losses(whole.metrics())
        self.assertEqual(len(crashed.metrics()), len(got))  # no step twice
        self.assertEqual([got[step] for step in range(1, last + 1)], [expected[step] for step in range(1, last + 1)])

    def train_and_kill(self, run, options, step):
        """Kills the run once it has done `step`; the last step that it has done."""
        process = run.start(*options)
        try:
            annulus.wait_until(lambda: process.poll() is not None or annulus.last_step(run.metrics_file) >= step,
                               f"step {step}")
            self.assertIsNone(process.poll(), f"ended before it was killed: {options}")
            os.kill(process.pid, signal.SIGKILL)
            annulus.wait_until(lambda: process.poll() is not None and not annulus.processes_of(process),
                               "the ranks' end when mpirun is gone")
        finally:
            annulus.end(process)
        result = annulus.finished(process)
        self.assertEqual("resumed from" in result.out, bool(options), result)
        return annulus.last_step(run.metrics_file)


class InTokens(annulus.TestCase):
    """The length of a run and its batch, given in tokens."""

    def test_they_are_sequences_and_steps(self):
        """The run is the one of 3 sequences and 8 steps, to the last bit, and goes on by either config."""
        in_tokens = {"data.global_batch": None, "data.global_batch_tokens": 3 * 67, "train.steps": None,
                     "train.tokens": 7 * 3 * 67 + 1}  # rounded up
        for ranks in (1, 3):
            plain = TinyRun(self.directory / f"plain {ranks}", EVERY_FOUR, ranks)
            self.assertDone(plain.train())
            run = TinyRun(self.directory / f"tokens {ranks}", {**EVERY_FOUR, **in_tokens}, ranks)
            self.assertDone(run.train())
            self.assertSameLines(run.metrics(), plain.metrics())
            self.assertEqual((run.path / "config.toml").read_text(), (plain.path / "config.toml").read_text())
            for config in ("config.toml", "runs/tiny/config.toml"):
                with self.subTest(config, ranks=ranks):
                    run.forget(8)
                    result = annulus.run(["train", config, LATEST], ranks, cwd=run.directory)
                    self.assertDone(result)
                    self.assertIn("resumed from", result.out)
                    self.assertSameLines(run.metrics(), plain.metrics())
                    self.assertEqual(files_of(run.checkpoint(8)), files_of(plain.checkpoint(8)))

    def test_they_are_compared_with_the_checkpoint(self):
        run = TinyRun(self.directory / "other batch", {"train.steps": 2})
        self.assertDone(run.train())
        annulus.write_config(run.config, {"data.global_batch": None, "data.global_batch_tokens": 4 * 67})
        self.assertFails(run.train(LATEST), 64, "data.global_batch")


class OnOtherRanks(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.saved = TinyRun(cls.directory / "saved", EVERY_FOUR, ranks=3)
        cls.result = cls.saved.train()

    def resume(self, name, options, ranks):
        """Goes on from step 4 under another name."""
        result = self.saved.train(f"--resume={self.saved.checkpoint(4)}", f"--run.name={name}", *options, ranks=ranks)
        return result, self.saved.path.with_name(name)

    def test_state_and_losses(self):
        self.assertDone(self.result)
        losses, before = annulus.losses(self.saved.metrics()), tensors_of(self.saved.checkpoint(4))
        self.assertEqual({name.split("layers")[0] for name in before if "layers" in name},
                         {"model/", "optimizer/m/", "optimizer/v/"})
        placements = {  # name: options, processes
            "1-rank": (["--parallel.cp=1"], 1),
            "2-striped": (["--parallel.cp=2", "--parallel.placement=striped"], 2),
            "3-contiguous": (["--parallel.placement=contiguous"], 3),
            "4-ranks": (["--parallel.cp=4"], 4),
            "dp-2-cp-2": (["--parallel.dp=2", "--parallel.cp=2"], 4),
            "dp-3": (["--parallel.dp=3", "--parallel.cp=1"], 3),
            "5-threads": (["--parallel.cp=5", "--parallel.in_process_ranks=5"], 1),
        }
        jobs = {}
        for name, (options, ranks) in placements.items():
            for what, more in (("state", STANDSTILL), *([("losses", [])] if name in FOUR_STEPS else [])):
                jobs[name, what] = lambda run=f"{name}-{what}", options=[*options, *more], ranks=ranks: self.resume(
                    run, options, ranks)
        for (name, what), (result, run) in zip(jobs, annulus.together(jobs.values())):
            with self.subTest(name, checked=what):
                self.assertDone(result)
                steps = annulus.losses(annulus.read_metrics(run / "metrics.jsonl"))
                self.assertEqual(sorted(steps), [5] if what == "state" else [5, 6, 7, 8])
                for step, loss in steps.items():
                    self.assertLessEqual(abs(loss - losses[step]), OTHER_RANKS_RELATIVE * losses[step], f"step {step}")
                if what == "state":
                    self.assertKept(before, tensors_of(run / "checkpoints" / "step-00000005"))

    def assertKept(self, before, after):
        self.assertEqual(sorted(before), sorted(after))
        for name, tensor in before.items():
            expected = tensor * np.float32(0.5) if name.startswith("optimizer/") else tensor
            self.assertTrue(np.array_equal(after[name], expected), f"/{name} has changed on the way")
        moving = [name for name, tensor in before.items() if name.startswith("optimizer/") and np.any(tensor)]
        self.assertGreater(len(moving), 10)  # or the moments prove nothing


class WhatCannotGoOn(annulus.TestCase):
    def finished_run(self, name, changes=None, ranks=1):
        run = TinyRun(self.directory / name, {**EVERY_FOUR, **(changes or {})}, ranks)
        self.assertDone(run.train())
        return run

    def test_a_finished_run_is_done(self):
        run = self.finished_run("finished")
        before = tree_of(run.path)
        result = run.train(LATEST)
        self.assertDone(result)
        self.assertIn("has done all its 8 steps", result.out)
        self.assertEqual(tree_of(run.path), before)

    def test_latest_without_a_run_starts_at_step_0(self):
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                run = TinyRun(self.directory / f"none on {ranks}", {"train.steps": 3}, ranks)
                result = run.train(LATEST)
                self.assertDone(result)
                self.assertIn("step 0", result.out)
                self.assertEqual(sorted(annulus.losses(run.metrics())), [1, 2, 3])

    def test_an_existing_run_needs_resume(self):
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                run = self.finished_run(f"existing on {ranks}", ranks=ranks)
                before = tree_of(run.path)
                self.assertFails(run.train(), 64, str(run.path.relative_to(run.directory)), "--resume", "--run.name")
                self.assertEqual(tree_of(run.path), before)

    def test_what_must_not_change(self):
        run = self.finished_run("fixed")
        before = tree_of(run.path)
        annulus.write_text(run.directory / "other.txt", sums=1600)
        changes = {"model.width": 64, "model.layers": 2, "model.tie_embeddings": "false", "data.sequence_length": 68,
                   "data.global_batch": 4, "data.path": "other.txt", "data.validation_fraction": 0.1, "run.seed": 8}
        for key, value in changes.items():
            for ranks in (1, 3) if key in ("model.width", "run.seed") else (1,):
                with self.subTest(key, ranks=ranks):
                    result = run.train(LATEST, f"--{key}={value}", f"--parallel.cp={ranks}", ranks=ranks)
                    self.assertFails(result, 64, key)
                    self.assertEqual(tree_of(run.path), before)

    def test_a_text_that_has_changed(self):
        """The path is the same, what it holds is not: that would train on without a word."""
        run = self.finished_run("text")
        before = tree_of(run.path)
        text = run.directory / annulus.TINY["data.path"]
        text.write_bytes(text.read_bytes().replace(b"1", b"2", 1))
        for ranks in (1, 3):
            result = run.train(LATEST, f"--parallel.cp={ranks}", ranks=ranks)
            self.assertFails(result, 65, "data.path", "content has changed")
            self.assertEqual(tree_of(run.path), before)

    def test_going_back_and_on_another_way(self):
        """From an older checkpoint with another learning rate, where newer ones are there. Either that is refused, or
        the newest checkpoint is of the new way when the run is done: --resume=latest must not lead back to the old."""
        run = self.finished_run("another way")
        before = tree_of(run.path)
        result = run.train(f"--resume={run.checkpoint(4)}", "--train.learning_rate=0.02")
        if result.code != 0:
            self.assertFails(result, 64, "step-00000008")
            self.assertEqual(tree_of(run.path), before)
        else:
            old = before["checkpoints/step-00000008/part-00000-00.h5"]
            self.assertNotEqual((run.checkpoint(8) / "part-00000-00.h5").read_bytes(), old, result)

    def test_from_a_copy_under_another_name(self):
        """Steps decide what is behind it, not names: whatever the copy is called, only later checkpoints go aside."""
        whole = self.finished_run("copies")
        for name in ("best", "step-00000004-good-loss", "step-00000009"):
            with self.subTest(name):
                run = whole.copied_to(self.directory / f"copies {name}")
                copy = shutil.copytree(run.checkpoint(4), run.directory / name)
                self.assertDone(run.train(f"--resume={copy}", "--train.learning_rate=0.02"))
                self.assertEqual(files_of(run.checkpoint(4)), files_of(whole.checkpoint(4)))
                self.assertEqual(sorted(path.name for path in (run.path / "checkpoints").iterdir()),
                                 ["step-00000004", "step-00000008", "step-00000008.set-aside-1"])
                self.assertNotEqual(files_of(run.checkpoint(8)), files_of(whole.checkpoint(8)))

    def test_from_the_same_step_of_another_run(self):
        """The own checkpoint of that step is none of this course: the newest checkpoint must not be it."""
        own, other = self.finished_run("own"), self.finished_run("other", {"train.learning_rate": 0.02})
        self.assertDone(own.train(f"--resume={other.checkpoint(8)}", "--train.steps=9"))
        self.assertFalse(own.checkpoint(8).exists())
        self.assertTrue((own.path / "checkpoints" / "step-00000008.set-aside-1").exists())
        self.assertDone(own.train(LATEST, "--train.steps=10"))

    def test_a_damaged_newest_checkpoint(self):
        """Whichever of its files is damaged, the older one is taken, with a message; the run ends as if nothing was."""
        whole = self.finished_run("damaged", ranks=3)
        harms = {"part-00000-00.h5": flip_a_byte, "part-00002-00.h5": flip_a_byte, "part-00001-00.h5": os.unlink,
                 "MANIFEST": empty}

        def resume(file, harm):
            run = whole.copied_to(self.directory / f"damaged {file}")
            harm(run.checkpoint(8) / file)
            result = run.train(LATEST)
            if result.code != 0 or files_of(run.checkpoint(8)) == files_of(whole.checkpoint(8)):
                return run, result, None
            run.forget(8)  # moved away, as the message advises
            return run, result, run.train(LATEST)

        jobs = [lambda case=case: resume(*case) for case in harms.items()]
        for file, (run, result, again) in zip(harms, annulus.together(jobs)):
            with self.subTest(file, harm=harms[file].__name__):
                self.assertDone(result)
                self.assertIn("resumed from runs/tiny/checkpoints/step-00000004", result.out)
                self.assertTrue(any(file in line for line in result.warnings), result)
                if again:
                    self.assertDone(again)
                self.assertEqual(annulus.losses(run.metrics()), annulus.losses(whole.metrics()))
                self.assertEqual(files_of(run.checkpoint(8)), files_of(whole.checkpoint(8)))

    def test_a_checkpoint_of_a_later_annulus(self):
        """Going on from an older one would throw steps away that the later annulus can go on from. One bit of damage
        that looks like a later version is no such thing."""
        run = self.finished_run("later", ranks=2)
        manifest = run.checkpoint(8) / "MANIFEST"
        whole = manifest.read_bytes()
        text = whole[:whole.rindex(b"digest ")]
        sign(manifest, text)
        self.assertEqual(manifest.read_bytes(), whole)  # or sign() proves nothing
        sign(manifest, text.replace(b"annulus-checkpoint 1\n", b"annulus-checkpoint 3\n"))
        before = tree_of(run.path)
        for ranks in (2, 1):
            result = run.train(LATEST, f"--parallel.cp={ranks}", ranks=ranks)
            self.assertFails(result, 66, "step-00000008", "later annulus", "reads schema versions up to 2", "--resume=PATH")
            self.assertEqual(tree_of(run.path), before)
        manifest.write_bytes(whole.replace(b"annulus-checkpoint 1\n", b"annulus-checkpoint 3\n"))
        result = run.train(LATEST)
        self.assertDone(result)
        self.assertIn("resumed from runs/tiny/checkpoints/step-00000004", result.out)

    def test_no_readable_checkpoint(self):
        run = self.finished_run("unreadable", ranks=2)
        for step in (4, 8):
            flip_a_byte(run.checkpoint(step) / "part-00000-00.h5")
        before = tree_of(run.path)
        for ranks in (2, 1):
            with self.subTest(ranks=ranks):
                result = run.train(LATEST, f"--parallel.cp={ranks}", ranks=ranks)
                self.assertFails(result, 66, "none of the 2 checkpoints", "--run.name")
                self.assertEqual(tree_of(run.path), before)

    def test_a_damaged_checkpoint_that_was_named(self):
        run = self.finished_run("named", ranks=3)
        for file, harm in (("part-00002-00.h5", flip_a_byte), ("part-00001-00.h5", os.unlink), ("MANIFEST", empty)):
            with self.subTest(file):
                harm(run.checkpoint(4) / file)
                self.assertFails(run.train(f"--resume={run.checkpoint(4)}"), 66, file)

    def test_a_run_in_use(self):
        """The second run is refused; the first does not notice."""
        first = TinyRun(self.directory / "in use", {"train.steps": 100000, "checkpoint.every": 10}, ranks=2)
        metrics = first.metrics_file
        process = first.start()
        try:
            annulus.wait_until(lambda: annulus.last_step(metrics) >= 2 or process.poll() is not None, "two steps")
            for ranks in (2, 1):
                with self.subTest(ranks=ranks):
                    result = first.train(LATEST, f"--parallel.cp={ranks}", ranks=ranks)
                    self.assertFails(result, 77, "in use", "--run.name")
            step = annulus.last_step(metrics)
            annulus.wait_until(lambda: annulus.last_step(metrics) > step or process.poll() is not None, "the next step")
            self.assertIsNone(process.poll())
        finally:
            annulus.end(process)
        result = annulus.finished(process)
        self.assertEqual(result.messages, [], result)
        steps = [line["step"] for line in first.metrics()]
        self.assertEqual(steps, list(range(1, len(steps) + 1)))


if __name__ == "__main__":
    annulus.main()
