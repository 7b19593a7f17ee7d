#!/usr/bin/env python3
"""launch/slurm/train.sbatch as Slurm would run it: a stand-in for srun notes what it is asked for and starts ranks."""
import os
import shutil

import annulus_runner as annulus

SCRIPT = annulus.ROOT / "launch" / "slurm" / "train.sbatch"
SRUN = """#!/usr/bin/env bash
if [[ $1 == --mpi=list ]]; then echo "MPI plugin types are..."; echo "{plugins}"; exit 0; fi
echo "$*" >>srun.log
while [[ $1 == --* ]]; do [[ $1 != --ntasks=* ]] || ranks=${{1#--ntasks=}}; shift; done
exec {mpirun} -np "$ranks" "$@"
"""
JOB = {"SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "n1", "SLURM_NTASKS": "3",
       "SLURM_CPUS_PER_TASK": "2"}
MPIRUN_HERE = {  # for the script's own mpirun: root, few cores, and a job that is none which Open MPI could join
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_ras": "^slurm", "OMPI_MCA_plm": "^slurm"}


class BatchScript(annulus.TestCase):
    def submit(self, run, *arguments, plugins="pmix pmi2", **changes):
        """As sbatch does: from a copy of the script, in the directory it was submitted from."""
        tools = run.directory / "tools"
        tools.mkdir(exist_ok=True)
        (tools / "srun").write_text(SRUN.format(plugins=plugins, mpirun=" ".join(annulus.MPIRUN)))
        (tools / "srun").chmod(0o755)
        copy = shutil.copy(SCRIPT, tools / "slurm_script")
        env = {**JOB, **MPIRUN_HERE, "PATH": f"{tools}:{os.environ['PATH']}", "SLURM_SUBMIT_DIR": str(run.directory),
               "ANNULUS": str(annulus.program), **changes}
        env = {name: value for name, value in env.items() if value is not None}
        return annulus.run_command(["bash", copy, *arguments], env, run.directory / "tools")

    def test_a_first_start_and_the_next(self):
        run = annulus.TinyRun(self.directory / "run", {"parallel.cp": 1, "checkpoint.every": 4})
        first = self.submit(run, "config.toml", "--train.steps=6")
        self.assertDone(first)
        self.assertIn("job 17, start number 1, 3 ranks on n1", first.out)
        self.assertIn("starting at step 0", first.out)
        self.assertIn("3 ranks = dp 1 x cp 3", first.out)
        again = self.submit(run, "config.toml", SLURM_RESTART_COUNT="1")
        self.assertDone(again)
        self.assertIn("start number 2", again.out)
        self.assertIn("resumed from", again.out)
        self.assertEqual(sorted(annulus.losses(run.metrics())), list(range(1, 9)))
        for line in (run.directory / "srun.log").read_text().splitlines():
            for option in ("--mpi=pmix", "--ntasks=3", "--cpus-per-task=2", "--kill-on-bad-exit=1"):
                self.assertIn(option, line)

    def test_other_jobs(self):
        run = annulus.TinyRun(self.directory / "other")
        per_node = {"SLURM_NTASKS": None, "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NUM_NODES": "2"}
        result = self.submit(run, "config.toml", "--parallel.dp=2", "--parallel.cp=2", **per_node)
        self.assertDone(result)
        self.assertIn("4 ranks = dp 2 x cp 2", result.out)

    def test_without_pmix(self):
        """mpirun starts the ranks, never srun: with its pmi2 they would be runs of their own."""
        run = annulus.TinyRun(self.directory / "pmi2")
        result = self.submit(run, "config.toml", plugins="none pmi2")
        self.assertDone(result)
        self.assertIn("3 ranks = dp 1 x cp 3", result.out)
        self.assertFalse((run.directory / "srun.log").exists())

    def test_misuse(self):
        run = annulus.TinyRun(self.directory / "misuse")
        cases = {
            "no job": (["config.toml"], {"SLURM_JOB_ID": None}, ["sbatch launch/slurm/train.sbatch"]),
            "no config": ([], {}, ["usage: sbatch"]),
            "options only": (["--train.steps=3"], {}, ["usage: sbatch"]),
            "no such config": (["none.toml"], {}, ["none.toml", "all nodes"]),
            "no program": (["config.toml"], {"ANNULUS": None}, ["build/release/annulus", "cmake --preset release"]),
        }
        for name, (arguments, changes, mentions) in cases.items():
            with self.subTest(name):
                self.assertFails(self.submit(run, *arguments, **changes), 64, *mentions)

    def test_a_run_that_fails(self):
        """Its code and its message are the job's."""
        run = annulus.TinyRun(self.directory / "fails")
        self.assertFails(self.submit(run, "config.toml", "--data.path=none.txt"), 65, "none.txt")


if __name__ == "__main__":
    annulus.main()
