#!/usr/bin/env python3
"""Training under a real Slurm of two nodes, as users start it: sbatch, srun --mpi=pmix, a job that is requeued."""
import annulus_runner as annulus
import slurm_cluster
from annulus_runner import TinyRun

SCRIPT = annulus.ROOT / "launch" / "slurm" / "train.sbatch"
SHAPE = ("--nodes=2", "--ntasks-per-node=2", "--cpus-per-task=1", "--mem=0")


class UnderSlurm(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.slurm = cls.enterClassContext(slurm_cluster.Slurm(cls.directory / "slurm"))

    def log_of(self, run, job):
        return (run.directory / f"annulus-{job}.log").read_text()

    def test_a_batch_job(self):
        """The losses of four ranks that mpirun starts, digit for digit."""
        run, other = TinyRun(self.directory / "job", {"parallel.cp": 1}), TinyRun(self.directory / "mpirun", ranks=4)
        job = self.slurm.submit(SCRIPT, "config.toml", "--parallel.threads=1", options=SHAPE, cwd=run.directory)
        self.assertEqual(self.slurm.wait(job), ("COMPLETED", 0), self.log_of(run, job))
        self.assertIn("4 ranks on n[1-2]", self.log_of(run, job))
        self.assertIn("4 ranks = dp 1 x cp 4", self.log_of(run, job))
        self.assertDone(other.train())
        self.assertSameLines(run.metrics(), other.metrics())

    def test_a_job_that_is_requeued_goes_on(self):
        """Requeued in the middle, by whoever: the steps behind the newest checkpoint are done again, to the same bits."""
        changes = {"checkpoint.every": 100, "train.steps": 1500, "train.log_every": 500}
        run, whole = TinyRun(self.directory / "requeued", changes), TinyRun(self.directory / "whole", changes)
        shape = ("--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=0", "--requeue")
        job = self.slurm.submit(SCRIPT, "config.toml", options=shape, cwd=run.directory)
        annulus.wait_until(lambda: annulus.last_step(run.metrics_file) >= 150, "step 150 of the job")
        self.assertEqual(self.slurm.run("scontrol", "requeue", job).code, 0)
        annulus.wait_until(lambda: "start number 2" in self.log_of(run, job), "the second start of the job")
        self.assertEqual(self.slurm.wait(job), ("COMPLETED", 0), self.log_of(run, job))
        self.assertIn("resumed from", self.log_of(run, job))
        self.assertDone(whole.train())
        self.assertSameLines(run.metrics(), whole.metrics())

    def test_srun_alone(self):
        """Inside an allocation or without one. Where --mpi=pmix is forgotten there would be four runs of one rank."""
        run = TinyRun(self.directory / "srun", {"parallel.cp": 4})
        ranks = ("srun", "--nodes=2", "--ntasks=4", "--mem=0")
        self.assertFails(self.slurm.run(*ranks, "--mpi=none", annulus.program, *run.arguments(), cwd=run.directory), 64,
                         "--mpi=pmix")
        self.assertFalse(run.path.exists())
        self.assertDone(self.slurm.run(*ranks, "--mpi=pmix", annulus.program, *run.arguments(), cwd=run.directory))
        self.assertEqual(annulus.last_step(run.metrics_file), 8)

    def test_an_error_is_the_job_s_exit_code(self):
        run = TinyRun(self.directory / "error", {"parallel.cp": 1})
        job = self.slurm.submit(SCRIPT, "config.toml", "--train.stpes=3", options=SHAPE, cwd=run.directory)
        self.assertEqual(self.slurm.wait(job), ("FAILED", 64), self.log_of(run, job))
        self.assertIn("did you mean train.steps", self.log_of(run, job))


if __name__ == "__main__":
    if slurm_cluster.why_not():
        annulus.skip(slurm_cluster.why_not())
    annulus.main()
