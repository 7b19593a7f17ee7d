#!/usr/bin/env python3
"""Runs on packed documents, from JSON lines and from files of token ids."""
import array
import json
import random

import annulus_runner as annulus
from annulus_runner import TinyRun


def documents(count=300):
    """Sums, a few to a document, so that there is something to learn in each."""
    numbers = random.Random(3)
    return ["".join(f"{a} + {b} = {a + b}.\n" for a, b in
                    ((numbers.randrange(50), numbers.randrange(50)) for _ in range(numbers.randrange(1, 9))))
            for _ in range(count)]


def write_jsonl(run):
    (run.directory / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents()))


def write_tokens(run):
    """The same with an id behind each document that no byte has."""
    ids = array.array("H", [token for text in documents() for token in [*text.encode(), 256]])
    (run.directory / "text.bin").write_bytes(ids.tobytes())


class Documents(annulus.TestCase):
    def make(self, name, changes=None, ranks=1, threads_as_ranks=False):
        run = TinyRun(self.directory / name, {"data.path": "text.jsonl", "data.sequence_length": 401,
                                              "train.validate_every": 4, **(changes or {})}, ranks, threads_as_ranks)
        write_jsonl(run)
        write_tokens(run)
        return run

    def test_the_same_on_any_ranks(self):
        one = self.make("1")
        self.assertDone(one.train())
        expected = annulus.losses(one.metrics())
        validation = [line["val_loss"] for line in one.metrics() if "val_loss" in line]
        self.assertLess(expected[8], expected[1] - 0.5)
        cases = {"3 ranks": ({}, 3, False), "messages": ({"parallel.transport": "mpi"}, 3, False),
                 "dp 2": ({"parallel.dp": 2, "parallel.cp": 1}, 2, False), "4 threads": ({}, 4, True),
                 "striped": ({"parallel.placement": "striped"}, 2, False)}
        runs = {name: self.make(name, *case) for name, case in cases.items()}
        for (name, run), result in zip(runs.items(), annulus.together([run.train for run in runs.values()])):
            with self.subTest(name):
                self.assertDone(result)
                losses = annulus.losses(run.metrics())
                for step, loss in expected.items():
                    self.assertAlmostEqual(losses[step], loss, delta=1e-5 * loss)
                for mine, its in zip(validation, [line["val_loss"] for line in run.metrics() if "val_loss" in line]):
                    self.assertAlmostEqual(its, mine, delta=1e-5 * mine)

    def test_resuming_equals_never_stopping(self):
        run = self.make("resumed", {"checkpoint.every": 4}, 3)
        self.assertDone(run.train())
        lines = [annulus.what_must_repeat(line) for line in run.metrics()]
        files = {path.name: path.read_bytes() for path in run.checkpoint(8).iterdir()}
        run.forget(8)
        self.assertDone(run.train("--resume=latest"))
        self.assertEqual([annulus.what_must_repeat(line) for line in run.metrics()], lines)
        self.assertEqual({path.name: path.read_bytes() for path in run.checkpoint(8).iterdir()}, files)

    def test_token_ids(self):
        changes = {"data.path": "text.bin", "model.vocab": 257}
        whole = self.make("stream", changes)
        self.assertDone(whole.train())
        cut = self.make("cut", {**changes, "data.end_of_document": 256}, 3)
        self.assertDone(cut.train())
        self.assertNotEqual(annulus.losses(whole.metrics())[8], annulus.losses(cut.metrics())[8])
        self.assertFails(annulus.run(["sample", cut.path, "--prompt=1 +"]), 64, "token ids", "text.bin")
        for ranks in (1, 3):
            small = self.make(f"small {ranks}", {"data.path": "text.bin", "model.vocab": 256}, ranks)
            self.assertFails(small.train(), 65, "text.bin", "is 256", "0 to 255", "model.vocab")

    def test_what_it_refuses(self):
        run = self.make("refused")
        (run.directory / "bad.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n')
        (run.directory / "odd.bin").write_bytes(b"abc")
        (run.directory / "short.jsonl").write_text('{"text": "a"}\n')
        cases = {"bad.jsonl": (["--data.path=bad.jsonl"], 65, ["bad.jsonl", "line 2", '"text"']),
                 "odd.bin": (["--data.path=odd.bin", "--model.vocab=65536"], 65, ["odd.bin", "uint16", "data.format"]),
                 "short": (["--data.path=short.jsonl"], 65, ["short.jsonl", "longer text"]),
                 "an end for text": (["--data.end_of_document=3"], 64, ["data.end_of_document", "-1"]),
                 "an unknown format": (["--data.format=json"], 64, ["data.format", "jsonl"]),
                 "no index": (["--data.path=odd.bin", "--data.format=megatron"], 65, ["odd.idx", "No such file"])}
        for name, (options, code, mentions) in cases.items():
            for ranks in (1, 3):
                with self.subTest(name, ranks=ranks):
                    result = run.train(*options, f"--parallel.cp={ranks}", ranks=ranks)
                    self.assertFails(result, code, *mentions)
                    self.assertFalse(run.path.exists())


if __name__ == "__main__":
    annulus.main()
