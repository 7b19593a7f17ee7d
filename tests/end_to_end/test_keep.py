#!/usr/bin/env python3
"""checkpoint.keep: the newest checkpoints stay, through kills at any moment, and a run goes on from each of them."""
import os
import random
import signal
import time

import annulus_runner as annulus
from annulus_runner import TinyRun

LATEST = "--resume=latest"
KEEP = 2
KILLS = 12
OTHER_RANKS_RELATIVE = 1e-5  # as in test_resume


def steps_in(run):
    """Of what has a checkpoint's name."""
    directory = run.path / "checkpoints"
    names = [path.name for path in directory.iterdir()] if directory.exists() else []
    return sorted(int(name[5:]) for name in names if name.startswith("step-") and name[5:].isdigit())


class Keep(annulus.TestCase):
    def trained(self, name, changes, *options, ranks=1):
        run = TinyRun(self.directory / name, {"checkpoint.every": 2, **changes}, ranks)
        self.assertDone(run.train(*options))
        return run

    def test_how_many_stay(self):
        for keep, steps in ((0, [2, 4, 6, 8]), (1, [8]), (2, [6, 8]), (3, [4, 6, 8]), (100, [2, 4, 6, 8])):
            with self.subTest(keep=keep):
                run = self.trained(f"keep {keep}", {"checkpoint.keep": keep})
                self.assertEqual(sorted(path.name for path in (run.path / "checkpoints").iterdir()),
                                 [f"step-{step:08}" for step in steps])

    def test_another_number_after_a_restart(self):
        """What is there is looked at, not remembered; what was set aside, and what others have put there, stays."""
        run = self.trained("restarted", {}, ranks=2)
        for name in ("step-00000002.set-aside-1", "best", "step-00000004.old"):
            (run.path / "checkpoints" / name).mkdir()
        self.assertDone(run.train(f"--resume={run.checkpoint(4)}", "--train.learning_rate=0.02", "--checkpoint.keep=1",
                                  "--checkpoint.every=1", "--train.steps=5"))
        expected = ["best", "step-00000002.set-aside-1", "step-00000004.old", "step-00000005",
                    "step-00000006.set-aside-1", "step-00000008.set-aside-1"]
        self.assertEqual(sorted(path.name for path in (run.path / "checkpoints").iterdir()), expected)
        self.assertDone(run.train(LATEST, "--checkpoint.keep=1"))  # 6 and 8, and only then does 5 go
        self.assertEqual(steps_in(run), [8])
        self.assertDone(run.train(LATEST, "--train.steps=12", "--checkpoint.keep=5", "--checkpoint.every=1"))
        self.assertEqual(steps_in(run), [8, 9, 10, 11, 12])

    def test_a_failed_save_deletes_nothing(self):
        """Something in the way of step 8: the run fails, and the checkpoints before stay."""
        run = TinyRun(self.directory / "in the way", {"checkpoint.every": 2, "checkpoint.keep": 1})
        (run.path / "checkpoints" / "step-00000008").mkdir(parents=True)
        (run.path / "checkpoints" / "step-00000008" / "notes").write_text("mine")
        result = run.train(LATEST)
        self.assertFails(result, 73, "step-00000008")
        self.assertEqual(steps_in(run), [6, 8])
        self.assertEqual((run.checkpoint(8) / "notes").read_text(), "mine")

    def test_going_on_from_a_kept_one_on_other_ranks(self):
        run = self.trained("elsewhere", {"checkpoint.keep": KEEP}, ranks=3)
        losses = annulus.losses(run.metrics())
        self.assertEqual(steps_in(run), [6, 8])
        layouts = {  # name: options, processes
            "1-rank": (["--parallel.cp=1"], 1),
            "2-striped": (["--parallel.cp=2", "--parallel.placement=striped"], 2),
            "dp-2-cp-2-contiguous": (["--parallel.dp=2", "--parallel.cp=2", "--parallel.placement=contiguous"], 4),
            "dp-3": (["--parallel.dp=3", "--parallel.cp=1"], 3),
        }
        for name, (options, ranks) in layouts.items():
            with self.subTest(name):
                result = run.train(f"--resume={run.checkpoint(6)}", f"--run.name={name}", *options, ranks=ranks)
                self.assertDone(result)
                got = annulus.losses(annulus.read_metrics(run.path.with_name(name) / "metrics.jsonl"))
                self.assertEqual(sorted(got), [7, 8])
                for step, loss in got.items():
                    self.assertLessEqual(abs(loss - losses[step]), OTHER_RANKS_RELATIVE * losses[step], f"step {step}")
        self.assertEqual(steps_in(run), [6, 8])  # those of another run are not theirs to delete

    def test_kills_at_any_moment(self):
        """Every step is saved and an older one deleted, so that a kill nearly always comes in the middle of that."""
        numbers = random.Random(17)
        run = TinyRun(self.directory / "killed",
                      {"checkpoint.every": 1, "checkpoint.keep": KEEP, "train.steps": 100000}, ranks=2)
        newest = 0
        for kill in range(KILLS):
            process = run.start(*([LATEST] if kill else []))
            try:
                before, more = newest, numbers.randrange(1, 6)
                annulus.wait_until(lambda: process.poll() is not None or max(steps_in(run), default=0) >= before + more,
                                   f"{more} more checkpoints")
                self.assertIsNone(process.poll(), "ended before it was killed")
                time.sleep(numbers.uniform(0.0, 0.05))  # some moment of the next steps
                for pid in annulus.processes_of(process):
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # mpirun ends the others when one is gone
            finally:
                annulus.end(process)
            result = annulus.finished(process)
            self.assertEqual("resumed from" in result.out, kill > 0, result)
            steps = steps_in(run)
            newest = steps[-1]
            self.assertGreaterEqual(newest, before + more)
            self.assertEqual(steps, list(range(steps[0], newest + 1)), "an older one outlived a newer one")
            self.assertGreaterEqual(len(steps), min(KEEP, newest), result)
            for step in steps:
                inspected = annulus.run(["inspect", run.checkpoint(step)])
                self.assertDone(inspected)
                self.assertEqual(inspected.out.splitlines()[-1], "intact")
        self.assertDone(run.train(LATEST, f"--train.steps={newest + 3}"))
        self.assertEqual(sorted(path.name for path in (run.path / "checkpoints").iterdir()),
                         [f"step-{step:08}" for step in (newest + 2, newest + 3)])


if __name__ == "__main__":
    annulus.main()
