#!/usr/bin/env python3
"""launch/run.sh with other hosts: what it refuses before mpirun is asked, and what it tells mpirun."""
import os

import annulus_runner as annulus

SCRIPT = annulus.ROOT / "launch" / "run.sh"
# A stand-in that notes what it is asked for and ends like one that cannot reach a host.
MPIRUN = """#!/usr/bin/env bash
printf '%s\\n' "$@" >mpirun.log
exit {code}
"""


class Hosts(annulus.TestCase):
    def start(self, *options, code=0, env=None):
        tools = self.directory / "tools"
        tools.mkdir(exist_ok=True)
        (tools / "mpirun").write_text(MPIRUN.format(code=code))
        (tools / "mpirun").chmod(0o755)
        (self.directory / "mpirun.log").unlink(missing_ok=True)
        env = {"ANNULUS": str(annulus.program), "PATH": f"{tools}:{os.environ['PATH']}", **(env or {})}
        return annulus.run_command([SCRIPT, *options, "--", "--version"], env, self.directory)

    def words(self):
        return (self.directory / "mpirun.log").read_text().splitlines()

    def test_hostfiles_that_are_wrong(self):
        cases = {
            "empty": ("", ["names no host", "HOST slots=N"]),
            "only comments": ("# node1 slots=4\n\n   \n", ["names no host"]),
            "no slots": ("node1 slots=4\nnode2\n", ["hosts:2", "node2", "slots=N"]),
            "slots=0": ("node1 slots=0\n", ["hosts:1", "slots='0'"]),
            "slots=-1": ("node1 slots=-1\n", ["hosts:1", "slots='-1'"]),
            "slots=many": ("node1 slots=many\n", ["hosts:1", "slots='many'"]),
            "slots of another system": ("node1:4\n", ["hosts:1", "slots=N"]),
            "another word": ("node1 slots=4 cpus=4\n", ["hosts:1", "cpus=4"]),
            "two hosts in a line": ("node1 node2 slots=4\n", ["hosts:1", "node2"]),
            "no name": ("slots=4\n", ["hosts:1", "slots=4"]),
            "a strange name": ("node;1 slots=4\n", ["hosts:1", "node;1"]),
            "no text": ("\x00\x7fELF\x02\x01", ["hosts:1"]),
            "too few slots": ("node1 slots=2\nnode2 slots=1", ["-np 4", "hosts has 3 slots"]),
        }
        for name, (text, mentions) in cases.items():
            with self.subTest(name):
                (self.directory / "hosts").write_text(text)
                self.assertFails(self.start("-np", "4", "--hostfile", "hosts"), 64, *mentions)
        for hostfile in ("none", "/", str(self.directory)):
            with self.subTest(hostfile):
                self.assertFails(self.start("-np", "4", "--hostfile", hostfile), 64, hostfile, "cannot read", "HOST slots=N")
        self.assertFalse((self.directory / "mpirun.log").exists())

    def test_lists_that_are_wrong(self):
        cases = {",": "names no host", "a:0": "'a:0'", "a:b": "'a:b'", "a:2,b;:2": "'b;:2'", "a:2,b": "has 3 slots",
                 "a,b,c": "has 3 slots"}
        for hosts, mention in cases.items():
            with self.subTest(hosts):
                self.assertFails(self.start("-np", "4", "--host", hosts), 64, mention)
        (self.directory / "hosts").write_text("node1 slots=4\n")
        self.assertFails(self.start("-np", "4", "--host", "a:4", "--hostfile", "hosts"), 64, "leave out one of the two")
        self.assertFalse((self.directory / "mpirun.log").exists())

    def test_what_mpirun_is_told(self):
        """Nothing that follows from the cores of this machine, and what threads need on the others."""
        (self.directory / "hosts").write_text("# two nodes\nnode1 slots=300  # large\nme@10.0.0.2 max_slots=400 slots=300")
        for options in (["--hostfile", "hosts"], ["--host", "node1:300,node2:300"]):
            with self.subTest(options[0]):
                result = self.start("-np", "600", *options, "--mca", "x", "y", env={"LD_LIBRARY_PATH": "/opt/lib"})
                self.assertDone(result)
                words = self.words()
                for word in ("--oversubscribe", "--map-by", "mpi_yield_when_idle"):
                    self.assertNotIn(word, words)
                self.assertEqual(result.err, "")
                self.assertEqual(words[words.index("-np") + 1], "600")
                self.assertEqual(words[words.index("--bind-to") + 1], "none")
                self.assertIn(options[1], words)
                exported = {words[i + 1] for i, word in enumerate(words) if word == "-x"}
                self.assertGreaterEqual(exported, {"OMP_WAIT_POLICY", "LD_LIBRARY_PATH"})
                self.assertNotIn("PATH", exported)

    def test_an_mpirun_that_fails_silently(self):
        (self.directory / "hosts").write_text("node1 slots=4\n")
        for code in (1, 132, 255):
            with self.subTest(code):
                result = self.start("-np", "4", "--hostfile", "hosts", code=code)
                self.assertFails(result, 64, "could not start the ranks", "ssh HOST", "hosts")
        lost = self.start("-np", "4", "--hostfile", "hosts", code=205)
        self.assertFails(lost, 75, "connection to a node was lost", "--resume=latest")
        self.assertFails(self.start("-np", "4", "--hostfile", "hosts", code=139), 75, "killed by signal 11 (SEGV)")
        self.assertEqual(self.start("-np", "4", "--hostfile", "hosts", code=77).code, 77)


if __name__ == "__main__":
    annulus.main()
