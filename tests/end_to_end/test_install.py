#!/usr/bin/env python3
"""`cmake --install` puts down a program that runs from there, with its launcher and configs."""
import os

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
        batch = next(prefix / name for name in files if name.endswith("/slurm/train.sbatch"))
        self.assertDone(annulus.run_command([program, "--version"]))
        run = annulus.TinyRun(self.directory / "run", {"train.steps": 2}, ranks=2)
        result = annulus.run_command([launcher, "-np", "2", "--", *run.arguments()], cwd=run.directory)
        self.assertDone(result)
        self.assertEqual(sorted(annulus.losses(run.metrics())), [1, 2])
        # The batch script finds the program on PATH, as users of an installation have it; the stand-in for srun has no PMIx.
        tools = self.directory / "tools"
        tools.mkdir()
        (tools / "srun").write_text("#!/bin/sh\necho none\n")
        (tools / "mpirun").write_text('#!/bin/sh\necho "$@"\n')
        for tool in tools.iterdir():
            tool.chmod(0o755)
        job = {"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_SUBMIT_DIR": str(run.directory),
               "PATH": f"{tools}:{program.parent}:{os.environ['PATH']}"}
        result = annulus.run_command(["bash", batch, "config.toml"], job, run.directory)
        self.assertDone(result)
        self.assertIn(f" {program} train config.toml --resume=latest", result.out)


if __name__ == "__main__":
    annulus.main()
