"""What the end-to-end tests share: annulus on some ranks, a tiny run and its text, what a run leaves behind.

A test file ends in `annulus_runner.main()`, which takes --program=PATH and hands everything else to unittest.
"""
import argparse
import concurrent.futures
import copy
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HANG_SECONDS = 120  # no test measures time; a run that takes this long hangs
MPIRUN = ["mpirun", "--quiet", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
LAUNCHERS = ("SLURM_", "OMPI_", "PMI_", "PMIX_")  # variables of whatever launcher the tests themselves run under

program = ROOT / "build" / "dev" / "annulus"  # main() sets it


def main():
    global program
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--program", type=pathlib.Path, default=program)
    options, rest = parser.parse_known_args()
    program = options.program.resolve()
    if not os.access(program, os.X_OK):
        sys.exit(f"{program} is no program; build it first, or name another one with --program=PATH")
    unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2)


def skip(why):
    """Ends a test file that this machine cannot run; CTest shows it as skipped (SKIP_RETURN_CODE in tests/CMakeLists.txt)."""
    print(f"skipped: {why}")
    sys.exit(77)


# ---- running annulus


class Result:
    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    @property
    def messages(self):
        """The errors that annulus or a launch script reports. Warnings and notes, which stop nothing, are not among them."""
        begins = ("annulus:", "run.sh:", "train.sbatch:", "usage:")
        errors = [line for line in self.err.splitlines() if line.startswith(begins)]
        return [line for line in errors if not line.startswith("annulus: warning:") and "they take turns" not in line]

    @property
    def warnings(self):
        return [line for line in self.err.splitlines() if line.startswith("annulus: warning:")]

    def __str__(self):
        words = " ".join(str(word) for word in self.command)
        return f"exit code {self.code} of: {words}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def environment(extra=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    clean["OMP_WAIT_POLICY"] = "passive"  # threads that wait sleep: the tests share their cores
    clean.update(extra or {})
    return clean


def command_on(ranks, arguments, launcher=None):
    """Without a launcher several ranks are started by mpirun and one by nobody."""
    if launcher == "run.sh":
        return [ROOT / "launch" / "run.sh", "-np", str(ranks), "--", *arguments]
    if launcher == "mpirun" or ranks > 1:
        return [*MPIRUN, "-np", str(ranks), program, *arguments]
    return [program, *arguments]


def start(command, env=None, cwd=None):
    """In a session of its own, so that end() finds every process of it. Output goes to files: nobody need read it."""
    out, err = (tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogateescape") for _ in range(2))
    words = [str(word) for word in command]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment(env), cwd=cwd,
                               start_new_session=True)
    process.files = (out, err)
    return process


def processes_of(process):
    """Ids of the processes that live in the session of `process`: mpirun puts each rank into a group of its own."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        if int(session) == process.pid and state != "Z":
            found.append(int(entry.name))
    return found


def end(process):
    """Kills what is left of it."""
    for pid in processes_of(process):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


def result_of(process, seconds=HANG_SECONDS):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        end(process)
        raise AssertionError(f"hangs: no end within {seconds} s\n{finished(process)}") from None
    return finished(process)


def finished(process):
    texts = []
    for file in process.files:
        file.seek(0)
        texts.append(file.read())
        file.close()
    return Result(process.args, process.returncode, *texts)


def run_command(command, env=None, cwd=None, seconds=HANG_SECONDS):
    return result_of(start(command, env, cwd), seconds)


def run(arguments, ranks=1, launcher=None, env=None, cwd=None):
    """Runs annulus to its end on `ranks` processes."""
    env = dict(env or {}, **({"ANNULUS": str(program)} if launcher == "run.sh" else {}))
    return run_command(command_on(ranks, arguments, launcher), env, cwd)


def together(jobs, at_once=3):
    """Results of functions without arguments, a few at a time: starting ranks is mostly waiting."""
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def wait_until(condition, what, seconds=HANG_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s there is still no sign of: {what}")
        time.sleep(0.01)


# ---- a tiny run


TINY = {
    "run.name": "tiny",
    "run.seed": 7,
    "model.layers": 1,
    "model.width": 32,
    "model.heads": 2,
    "model.kv_heads": 1,
    "model.ffn": 64,
    "data.path": "text.txt",
    "data.sequence_length": 67,  # divides by nothing, so that ranks hold unequal parts
    "data.global_batch": 3,
    "data.validation_fraction": 0.05,
    "parallel.threads": 1,
    "train.steps": 8,
    "train.micro_batch": 2,
    "train.learning_rate": 1e-2,
    "train.min_learning_rate": 1e-3,
    "train.warmup_steps": 2,
}


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def toml_text(settings):
    """A key whose value is None is left out."""
    sections = {}
    for name, value in settings.items():
        if value is None:
            continue
        section, key = name.split(".")
        sections.setdefault(section, []).append(f"{key} = {toml_value(value)}\n")
    return "\n".join(f"[{section}]\n{''.join(lines)}" for section, lines in sections.items())


def write_config(path, changes=None):
    path.write_text(toml_text({**TINY, **(changes or {})}))
    return path


def write_text(path, sums=1500):
    """Sums such as "17 + 25 = 42.": a model learns their form within a few steps."""
    numbers = random.Random(7)
    pairs = [(numbers.randrange(50), numbers.randrange(50)) for _ in range(sums)]
    path.write_text("".join(f"{a} + {b} = {a + b}.\n" for a, b in pairs))
    return path


class TinyRun:
    """One run directory with its config and text, below a directory of the test."""

    def __init__(self, directory, changes=None, ranks=1, threads_as_ranks=False):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ranks = 1 if threads_as_ranks else ranks
        parallel = {"parallel.cp": ranks}
        if threads_as_ranks:
            parallel["parallel.in_process_ranks"] = ranks
        write_text(self.directory / "text.txt")
        self.config = write_config(self.directory / "config.toml", {**parallel, **(changes or {})})
        name = {**TINY, **(changes or {})}["run.name"]
        self.path = self.directory / "runs" / name

    def copied_to(self, directory):
        """The same run elsewhere: no path in it leads out of its directory."""
        run = copy.copy(self)
        run.directory = pathlib.Path(shutil.copytree(self.directory, directory))
        run.config, run.path = (run.directory / path.relative_to(self.directory) for path in (self.config, self.path))
        return run

    def arguments(self, *options):
        return ["train", "config.toml", *options]

    def train(self, *options, ranks=None, launcher=None):
        return run(self.arguments(*options), ranks or self.ranks, launcher, cwd=self.directory)

    def start(self, *options):
        return start(command_on(self.ranks, self.arguments(*options)), cwd=self.directory)

    def checkpoint(self, step):
        return self.path / "checkpoints" / f"step-{step:08}"

    @property
    def metrics_file(self):
        return self.path / "metrics.jsonl"

    def metrics(self):
        return read_metrics(self.metrics_file)

    def forget(self, step):
        """Removes a checkpoint, as if the run had been stopped before it; the metrics behind stay."""
        shutil.rmtree(self.checkpoint(step))


def read_metrics(path):
    """Every line but one that is still being written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def last_step(path):
    return max((line["step"] for line in read_metrics(path)), default=0)


def what_must_repeat(line):
    """Of a metrics line, all that two equal runs have in common: not how long it took, nor where memory lay."""
    measured = ("seconds", "tokens_per_second", "mfu", "wait_fraction", "peak_memory_bytes")
    return {name: value for name, value in line.items() if name not in measured}


def losses(lines):
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


# ---- assertions


class TestCase(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="annulus-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)

    def assertDone(self, result):
        self.assertEqual(result.code, 0, result)
        self.assertEqual(result.messages, [], result)

    def assertFails(self, result, code, *mentions):
        """One message, which mentions all of these."""
        self.assertEqual(result.code, code, result)
        self.assertEqual(len(result.messages), 1, result)
        for text in mentions:
            self.assertIn(text, result.messages[0])

    def assertSameLines(self, got, expected):
        """Metrics of two runs that must do the same."""
        self.assertEqual([what_must_repeat(line) for line in got], [what_must_repeat(line) for line in expected])
