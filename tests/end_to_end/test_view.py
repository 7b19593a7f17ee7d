#!/usr/bin/env python3
"""view.h5 of a checkpoint shows every tensor whole to anyone with an HDF5 reader, wherever the directory is moved."""
import pathlib
import shutil
import subprocess
import sys
import tomllib
import unittest

import h5py
import numpy as np

import annulus_runner as annulus

CHECK_VIEW = pathlib.Path(__file__).with_name("check_view.py")


class View(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trained = annulus.TinyRun(cls.directory / "run", {"model.layers": 2, "checkpoint.every": 4}, ranks=3)
        cls.result = cls.trained.train()

    def setUp(self):
        self.assertDone(self.result)

    def checked(self, checkpoint, code=0):
        result = annulus.run_command([sys.executable, CHECK_VIEW, checkpoint], cwd=self.directory)
        self.assertEqual(result.code, code, result)
        return result.out

    def test_it_shows_what_the_parts_hold(self):
        for step in (4, 8):
            self.assertRegex(self.checked(self.trained.checkpoint(step)),
                             r"with 3 parts: \d+ tensors, \d+ floats, 0 problems")

    def test_every_tensor_of_the_model(self):
        config = tomllib.loads((self.trained.path / "config.toml").read_text())["model"]
        width, ffn, heads, kv_heads = (config[key] for key in ("width", "ffn", "heads", "kv_heads"))
        with h5py.File(self.trained.checkpoint(8) / "view.h5", "r") as view:
            names = []
            view["model"].visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            for group in ("optimizer/m", "optimizer/v"):
                for name in names:
                    self.assertEqual(view[group][name].shape, view["model"][name].shape)
            self.assertEqual(view["model/layers/0/attention/q_proj"].shape, (heads * config["head_dim"], width))
            self.assertEqual(view["model/layers/1/attention/k_proj"].shape, (kv_heads * config["head_dim"], width))
            self.assertIn((config["vocab"], width), [view["model"][name].shape for name in names])
            self.assertIn((ffn, width), [view["model"][name].shape for name in names])
            for name in names:
                values = view["model"][name][...]
                self.assertEqual(values.dtype, np.float32)
                self.assertTrue(np.all(np.isfinite(values)), name)  # a part that is not found shows as NaN

    def test_moved_elsewhere(self):
        """Its names are relative: with the parts beside it, it shows the same; without them, it shows NaN."""
        name = "model/layers/0/attention/q_proj"
        with h5py.File(self.trained.checkpoint(8) / "view.h5", "r") as view:
            expected = view[name][...]
        moved = self.directory / "another place" / "copied"
        shutil.copytree(self.trained.checkpoint(8), self.directory / "copy")
        moved.parent.mkdir()
        shutil.move(self.directory / "copy", moved)
        self.assertIn(" 0 problems", self.checked(moved))
        alone = self.directory / "alone"
        alone.mkdir()
        shutil.copy(moved / "view.h5", alone)
        for path, shown in ((moved, expected), (alone, np.full_like(expected, np.nan))):
            with h5py.File(path / "view.h5", "r") as view:
                np.testing.assert_array_equal(view[name][...], shown)

    @unittest.skipUnless(shutil.which("h5ls"), "h5ls is not installed (hdf5-tools)")
    def test_h5ls(self):
        command = ["h5ls", "-r", "view.h5"]
        listing = subprocess.run(command, cwd=self.trained.checkpoint(8), capture_output=True, text=True, timeout=60)
        self.assertEqual((listing.returncode, listing.stderr), (0, ""))
        self.assertRegex(listing.stdout, r"/model/layers/0/attention/q_proj +Dataset \{32, 32\}")
        self.assertRegex(listing.stdout, r"/optimizer/v/layers/1/attention/k_proj +Dataset \{16, 32\}")

    def test_check_view_sees_a_difference(self):
        """Or it would prove nothing."""
        changed = self.directory / "changed"
        shutil.copytree(self.trained.checkpoint(8), changed)
        with h5py.File(changed / "part-00001-00.h5", "r+") as part:
            names = []
            part.visititems(lambda name, item: names.append(name) if "rows" in item.attrs else None)
            part[names[0]].attrs["first_row"] = int(part[names[0]].attrs["first_row"]) + 1
        self.checked(changed, code=1)

    def test_it_is_never_read(self):
        """By annulus, that is: a run goes on from a checkpoint whose view is gone, or is rubbish."""
        copy = self.directory / "without a view"
        shutil.copytree(self.trained.checkpoint(4), copy)
        for harm in ("rubbish", "removed"):
            with self.subTest(harm):
                (copy / "view.h5").write_text("not HDF5") if harm == "rubbish" else (copy / "view.h5").unlink()
                result = self.trained.train(f"--resume={copy}", f"--run.name={harm}")
                self.assertDone(result)
                self.assertIn("resumed from", result.out)


if __name__ == "__main__":
    annulus.main()
