#!/usr/bin/env python3
"""`annulus inspect`: what a checkpoint holds, and whether it is intact."""
import json
import os
import shutil

import h5py
import numpy as np

import annulus_runner as annulus
from annulus_runner import TinyRun


class Inspect(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trained = TinyRun(cls.directory / "run", {"checkpoint.every": 4}, ranks=3)
        cls.result = cls.trained.train()

    def setUp(self):
        self.assertDone(self.result)

    def inspect(self, path, *options):
        return annulus.run(["inspect", path, *options], cwd=self.directory)

    def copy_of(self, step, name):
        return shutil.copytree(self.trained.checkpoint(step), self.directory / name)

    def assertDamaged(self, path, *mentions):
        result = self.inspect(path, "--json=damaged.json")
        self.assertFails(result, 66, str(path))
        last = result.out.splitlines()[-1]
        self.assertTrue(last.startswith("damaged: "), result)
        for text in mentions:
            self.assertIn(text, last)
        report = json.loads((self.directory / "damaged.json").read_text())
        self.assertFalse(report["intact"])
        self.assertEqual("damaged: " + "; ".join(report["problems"]), last)
        return result, report

    def test_an_intact_one(self):
        path = self.trained.checkpoint(8)
        result = self.inspect(path, "--json=intact.json")
        self.assertDone(result)
        self.assertEqual(result.err, "")
        lines = result.out.splitlines()
        self.assertEqual(lines[-1], "intact")
        words = [line.split(maxsplit=1) for line in lines]
        for expected in (["run", "tiny"], ["step", "8"], ["tokens", str(8 * 3 * 67)], ["ranks", "3"],
                         ["schema", "version  1"]):
            self.assertIn(expected, words)
        for file in path.iterdir():
            if file.name != "MANIFEST":
                self.assertRegex(result.out, rf"(?m)^{file.name} +{file.stat().st_size}  [0-9a-f]{{32}}  holds$")

        report = json.loads((self.directory / "intact.json").read_text())
        self.assertTrue(report["intact"])
        self.assertEqual(report["problems"], [])
        for key, expected in (("run", "tiny"), ("step", 8), ("ranks", 3), ("schema_version", 1), ("seed", 7)):
            self.assertEqual(report[key], expected)
        manifest = dict(line.split(" ", 1) for line in (path / "MANIFEST").read_text().splitlines())
        self.assertEqual(report["code_version"], manifest["version"])
        self.assertEqual(report["config_digest"], manifest["config"])

    def test_the_statistics_are_those_of_the_tensors(self):
        result = self.inspect(self.trained.checkpoint(8), "--json=statistics.json")
        self.assertDone(result)
        tensors = {tensor["name"]: tensor for tensor in
                   json.loads((self.directory / "statistics.json").read_text())["tensors"]}
        seen = []
        with h5py.File(self.trained.checkpoint(8) / "view.h5", "r") as view:
            def compare(name, item):
                if not isinstance(item, h5py.Dataset):
                    return
                seen.append("/" + name)
                values, tensor = item[...].astype(np.float64), tensors["/" + name]
                self.assertEqual((tuple(tensor["shape"]), tensor["dtype"], tensor["not_finite"]),
                                 (values.shape, "f32", 0))
                self.assertEqual((tensor["min"], tensor["max"]), (values.min(), values.max()))
                np.testing.assert_allclose((tensor["mean"], tensor["std"]), (values.mean(), values.std()), rtol=1e-9,
                                           atol=1e-12 * np.abs(values).max())
            view.visititems(compare)
        self.assertEqual(sorted(seen), sorted(tensors))
        self.assertGreater(max(tensor["parts"] for tensor in tensors.values()), 1)

    def test_a_run_is_its_newest_checkpoint(self):
        of_run = self.inspect(self.trained.path)
        self.assertDone(of_run)
        self.assertEqual(of_run.out, self.inspect(self.trained.checkpoint(8)).out)
        self.assertIn("step-00000004", self.inspect(self.trained.checkpoint(4)).out)

    def test_damage(self):
        def flip(path):
            content = bytearray(path.read_bytes())
            content[len(content) // 3] ^= 16
            path.write_bytes(content)

        def cut(path):
            os.truncate(path, path.stat().st_size // 2)

        for name, harm in (("part-00001-00.h5", flip), ("part-00000-00.h5", cut), ("part-00002-00.h5", os.unlink),
                           ("view.h5", flip)):
            with self.subTest(name, harm=harm.__name__):
                path = self.copy_of(8, f"{harm.__name__} {name}")
                harm(path / name)
                result, report = self.assertDamaged(path, name)
                self.assertRegex(result.out, rf"(?m)^{name} .*DOES NOT HOLD$")
                self.assertEqual([file["name"] for file in report["files"] if not file["digest_holds"]], [name])
        path = self.copy_of(8, "two files")
        flip(path / "part-00000-00.h5")
        flip(path / "part-00002-00.h5")
        self.assertDamaged(path, "part-00000-00.h5", "part-00002-00.h5")
        for harm in (flip, cut):
            path = self.copy_of(8, f"{harm.__name__} MANIFEST")
            harm(path / "MANIFEST")
            self.assertDamaged(path, "MANIFEST", "damaged")

    def test_another_schema_version(self):
        path = self.copy_of(8, "later")
        text = (path / "MANIFEST").read_text()
        (path / "MANIFEST").write_text(text.replace("annulus-checkpoint 1\n", "annulus-checkpoint 3\n"))
        self.assertDamaged(path, "schema version 3", "reads versions up to 2")
        self.assertFails(self.trained.train(f"--resume={path}"), 66, "schema version 3", "reads versions up to 2")

    def test_what_is_no_checkpoint(self):
        (self.directory / "empty").mkdir()
        for path in ("none", "empty", self.trained.path / "checkpoints"):
            self.assertFails(self.inspect(path), 66, str(path), "runs/NAME")
        self.assertFails(annulus.run(["inspect"]), 64, "checkpoint")
        self.assertFails(annulus.run(["inspect", self.trained.path], ranks=2), 64, "one rank", "2 were started")
        self.assertFails(self.inspect(self.trained.path, "--json=none/report.json"), 73, "none/report.json")


if __name__ == "__main__":
    annulus.main()
