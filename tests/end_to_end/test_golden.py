#!/usr/bin/env python3
"""A checkpoint that the first version wrote is still inspected, and still gone on from."""
import shutil
import tarfile

import annulus_runner as annulus

GOLDEN = annulus.ROOT / "tests" / "golden" / "checkpoint-v1"
LOSS_OF_STEP_3 = 5.53677585817152  # when it was written; the step sees the loaded parameters and the place in the text
RELATIVE = 1e-5  # bits differ between instruction sets (docs/NUMERICS.md)


class Golden(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("config.toml", "text.txt"):
            shutil.copy(GOLDEN / name, cls.directory)
        with tarfile.open(GOLDEN / "step-00000002.tar.gz") as archive:
            archive.extractall(cls.directory)

    def test_inspect(self):
        result = annulus.run(["inspect", "step-00000002"], cwd=self.directory)
        self.assertDone(result)
        self.assertEqual(result.out.splitlines()[-1], "intact")
        self.assertIn("0.1.0 (85605959f9)", result.out)

    def test_going_on_from_it(self):
        for ranks in (2, 1, 3):
            with self.subTest(ranks=ranks):
                options = ["--resume=step-00000002", f"--run.name=on-{ranks}", "--train.steps=3",
                           f"--parallel.cp={ranks}", f"--parallel.in_process_ranks={ranks}"]
                result = annulus.run(["train", "config.toml", *options], cwd=self.directory)
                self.assertDone(result)
                lines = annulus.read_metrics(self.directory / "runs" / f"on-{ranks}" / "metrics.jsonl")
                self.assertEqual([(line["step"], line["tokens"]) for line in lines], [(3, 186)])
                self.assertAlmostEqual(lines[0]["loss"], LOSS_OF_STEP_3, delta=RELATIVE * LOSS_OF_STEP_3)


if __name__ == "__main__":
    annulus.main()
