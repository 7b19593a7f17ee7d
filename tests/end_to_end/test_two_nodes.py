#!/usr/bin/env python3
"""Ranks on two nodes that share no memory, made of namespaces of this machine (two_nodes.sh): what they compute, what they
send, and what happens when a node is lost. Where namespaces may not be made CTest calls it skipped."""
import json
import random
import re
import subprocess

import h5py
import numpy as np

import annulus_runner as annulus

NODES = annulus.ROOT / "tests" / "end_to_end" / "two_nodes.sh"
RUN = annulus.ROOT / "launch" / "run.sh"
NO_NAMESPACES = 4  # two_nodes.sh ends with it
RESULTS = ("out", "lse", "dq", "dk", "dv")
# $0 is run.sh, $1 the number of ranks.
START = """ranks=$1; shift
exec "$0" -np $ranks --hostfile "$HOSTFILE" --mca plm rsh --mca plm_rsh_agent "$AGENT" $MPI_NETWORK -- "$@" """


BY_NODE = START.replace("$MPI_NETWORK", "$MPI_NETWORK --map-by node")  # ranks 0, 2 here and 1, 3 there


def on_nodes(slots, arguments, script=START):
    """The command that starts as many ranks on the nodes as these have slots together."""
    return [NODES, f"--slots={slots[0]},{slots[1]}", "bash", "-c", script, RUN, sum(slots), *arguments]


def run_on_nodes(slots, arguments, cwd, script=START):
    return annulus.run_command(on_nodes(slots, arguments, script), {"ANNULUS": str(annulus.program)}, cwd)


def read(path):
    with h5py.File(path) as file:
        attributes = {name: x.decode() if isinstance(x, bytes) else x for name, x in file.attrs.items()}
        return {name: file[name][()] for name in RESULTS}, attributes


class Attention(annulus.TestCase):
    B, S, H, K, D, Dv = 2, 45, 4, 2, 16, 8

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        numbers = np.random.default_rng(5)
        shapes = {"q": (cls.H, cls.D), "k": (cls.K, cls.D), "v": (cls.K, cls.Dv), "dout": (cls.H, cls.Dv)}
        with h5py.File(cls.directory / "in.h5", "w") as file:
            for name, shape in shapes.items():
                file[name] = numbers.standard_normal((cls.B, cls.S, *shape), np.float32)

    def attend(self, name, slots, *options, script=START):
        result = run_on_nodes(slots, ["attention", "in.h5", f"{name}.h5", *options], self.directory, script)
        self.assertDone(result)
        return result, *read(self.directory / f"{name}.h5")

    def block_bytes(self, ranks):
        """Of each rank's keys and values, striped."""
        return [self.B * len(range(r, self.S, ranks)) * self.K * (self.D + self.Dv) * 4 for r in range(ranks)]

    def expected_sent(self, slots):
        """Blocks leave a node once, forward from its last rank, backward from its first, which also sends the gradients."""
        ranks = sum(slots)
        block = self.block_bytes(ranks)
        forward, backward = [0] * ranks, [0] * ranks
        for mine in (range(slots[0]), range(slots[0], ranks)):
            blocks = sum(block[r] for r in mine)
            forward[mine[-1]] = blocks
            backward[mine[0]] = blocks + sum(block) - block[mine[0]]
        return forward, backward

    def test_the_same_bits_as_on_one_node(self):
        for slots in ((2, 2), (1, 3)):
            self.assertDone(annulus.run(["attention", "in.h5", "one.h5", "--placement=striped"], sum(slots),
                                        cwd=self.directory))
            expected, shared = read(self.directory / "one.h5")
            for transport in ("auto", "mpi"):
                with self.subTest(slots=slots, transport=transport):
                    result, results, attributes = self.attend("two", slots, "--placement=striped",
                                                              f"--transport={transport}")
                    for name in RESULTS:
                        self.assertEqual(results[name].tobytes(), expected[name].tobytes(), name)
                    for way in ("forward", "backward"):
                        self.assertEqual(list(attributes[f"bytes_visited_{way}"]), list(shared[f"bytes_visited_{way}"]))
                    self.assertEqual(attributes["transport"], "nodes" if transport == "auto" else "mpi")
                    if transport == "mpi":
                        continue
                    shape = "2 nodes of 2 ranks" if slots == (2, 2) else "2 nodes of 1 to 3 ranks"
                    self.assertIn(f"transport nodes ({shape})", result.out)
                    sent = [list(attributes[f"bytes_sent_{way}"]) for way in ("forward", "backward")]
                    self.assertEqual(sent, list(self.expected_sent(slots)))

    def test_ranks_that_are_alone_send_messages(self):
        _, _, attributes = self.attend("alone", (1, 1))
        self.assertEqual(attributes["transport"], "mpi")

    def test_ranks_that_are_dealt_out_in_turn(self):
        """The ring goes through one node after the other all the same."""
        result, _, attributes = self.attend("dealt", (2, 2), "--placement=striped", script=BY_NODE)
        self.assertIn("transport nodes (2 nodes of 2 ranks)", result.out)
        sent = [list(attributes[f"bytes_sent_{way}"]) for way in ("forward", "backward")]
        self.assertEqual(sent, list(self.expected_sent((2, 2))))

    def test_memory_is_not_shared(self):
        """The handshake itself refuses, and so does who insists on it."""
        result = run_on_nodes((2, 2), ["attention", "in.h5", "shared.h5", "--transport=shared"], self.directory)
        self.assertFails(result, 64, "--transport=shared", "not all on one node", "nodes")


class Training(annulus.TestCase):
    def test_the_same_losses_as_on_one_node(self):
        """Of one long text, of packed documents, and of two rings, each inside a node."""
        numbers = random.Random(3)
        texts = ["".join(f"{numbers.randrange(50)} + 1.\n" for _ in range(numbers.randrange(1, 20))) for _ in range(200)]
        documents = {"data.path": "text.jsonl", "data.sequence_length": 301}
        rings = {"parallel.dp": 2, "parallel.cp": 2}
        cases = {"text": ({}, START, "nodes (2 nodes of 2 ranks)"),
                 "documents": (documents, BY_NODE, "nodes (2 nodes of 2 ranks)"),
                 "two rings": (rings, BY_NODE, "shared")}
        for name, (changes, script, transport) in cases.items():
            with self.subTest(name):
                run = annulus.TinyRun(self.directory / name, {"train.steps": 4, **changes}, 4)
                (run.directory / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
                other = run.copied_to(self.directory / f"{name} on two nodes")
                self.assertDone(run.train())
                result = run_on_nodes((2, 2), other.arguments(), other.directory, script)
                self.assertDone(result)
                self.assertIn(f"transport {transport}", result.out.splitlines()[0])
                if other.ranks == changes.get("parallel.cp", other.ranks):  # else rank 0 is not in the ring that holds most
                    self.check_plan(other, transport, result)
                self.assertEqual(annulus.losses(other.metrics()), annulus.losses(run.metrics()))
                self.assertEqual(len(annulus.losses(run.metrics())), 4)


    def check_plan(self, run, transport, result):
        """What was planned, and what rank 0 held: only the last rank of a node has room for gradients of another one too."""
        planned = annulus.run(["plan", "config.toml", "--ranks-per-node=2", "--memory=0.01"], cwd=run.directory)
        self.assertDone(planned)
        self.assertIn(f"transport                    {transport}", planned.out)
        blocks = [float(re.search(rf"{words} +([0-9.]+) KiB", text)[1])
                  for words, text in (("ring buffers", planned.out), ("ring buffers", result.out))]
        self.assertAlmostEqual(blocks[0], blocks[1] * (7 / 6 if transport.startswith("nodes") else 1), msg=planned)


class LostNode(annulus.TestCase):
    """The other side ends within its time limit, and says so."""

    def lose(self, how):
        """Does `how` to the second node in the middle of a run."""
        run = annulus.TinyRun(self.directory / how.split()[0],
                              {"train.steps": 10**6, "train.log_every": 1000, "parallel.timeout_seconds": 3}, 4)
        # mpirun stays with its parent: when that ends, all of two_nodes.sh's processes do.
        script = START.replace("exec ", "").rstrip() + f""" & job=$!
            until (($(cat {run.metrics_file} 2>/dev/null | wc -l) > 2)); do kill -0 $job || exit 1; sleep 0.1; done
            ranks=$(nsenter --target $NODE2 --pid --mount -- pgrep -x annulus)
            for rank in $ranks; do nsenter --target $NODE2 --pid --mount -- grep -zc ^OMP_WAIT /proc/$rank/environ; done
            {how}
            wait $job"""
        return run_on_nodes((2, 2), run.arguments(), run.directory, script)

    def test_them(self):
        ends = {"kill -KILL $NODE2": "the node loses its power", "ip link set to-node2 down": "a cable is pulled"}
        results = annulus.together([lambda how=how: self.lose(how) for how in ends])
        for how, result in zip(ends, results):
            with self.subTest(ends[how]):
                self.assertEqual(result.code, 75, result)
                self.assertGreater(len(result.messages), 0, result)
                for message in result.messages:
                    self.assertRegex(message, r"waited 3 s for .* of rank [0-3]:|connection to a node was lost")
                self.assertIn("step ", result.out)
                # What stands in the environment of run.sh and concerns threads is there on the other node.
                self.assertEqual(result.out.splitlines().count("1"), 2, result)


if __name__ == "__main__":
    probe = subprocess.run([NODES, "true"], stderr=subprocess.PIPE, text=True)
    if probe.returncode == NO_NAMESPACES:
        annulus.skip(probe.stderr.strip())
    annulus.main()
