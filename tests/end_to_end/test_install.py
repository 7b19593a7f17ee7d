#!/usr/bin/env python3
"""`cmake --install` puts down a program that runs from there, with its launcher and configs."""
import annulus_runner as annulus


class Install(annulus.TestCase):
    def test_it_runs_from_there(self):
        prefix = self.directory / "prefix"
        self.assertDone(annulus.run_command(["cmake", "--install", annulus.program.parent, "--prefix", prefix]))
        files = sorted(str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file())
        program = next(prefix / name for name in files if name == "bin/annulus")
        launcher = next(prefix / name for name in files if name.endswith("/run.sh"))
        self.assertTrue(any(name.endswith("quickstart.toml") for name in files), files)
        self.assertTrue(any(name.endswith("README.md") for name in files), files)
        self.assertTrue(any(name.endswith("LICENSE") for name in files), files)
        self.assertDone(annulus.run_command([program, "--version"]))
        run = annulus.TinyRun(self.directory / "run", {"train.steps": 2}, ranks=2)
        result = annulus.run_command([launcher, "-np", "2", "--", *run.arguments()], cwd=run.directory)
        self.assertDone(result)
        self.assertEqual(sorted(annulus.losses(run.metrics())), [1, 2])


if __name__ == "__main__":
    annulus.main()
