#!/usr/bin/env python3
"""SentencePiece tokenizers: made with `annulus tokenizer`, trained with, resumed with and sampled with."""
import json
import re

import annulus_runner as annulus
from annulus_runner import TinyRun
from test_documents import documents

VOCAB = 300
SETTINGS = {"data.tokenizer": "sums.model", "model.vocab": VOCAB, "checkpoint.every": 4, "train.validate_every": 4}


class Tokenizer(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = annulus.write_text(cls.directory / "text.txt")
        (cls.directory / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents()))
        cls.made = cls.tokenizer("train", "text.txt", "sums.model", f"--vocab={VOCAB}")
        cls.trained = cls.make("trained")
        cls.result = cls.trained.train()

    @classmethod
    def tokenizer(cls, *arguments):
        return annulus.run(["tokenizer", *arguments], cwd=cls.directory)

    @classmethod
    def make(cls, name, changes=None, ranks=1, threads_as_ranks=False):
        run = TinyRun(cls.directory / name, {**SETTINGS, **(changes or {})}, ranks, threads_as_ranks)
        for file in ("sums.model", "text.jsonl"):
            (run.directory / file).write_bytes((cls.directory / file).read_bytes())
        return run

    def setUp(self):
        self.assertDone(self.made)
        self.assertDone(self.result)

    # ---- the models themselves

    def test_the_same_text_makes_the_same_model(self):
        model = (self.directory / "sums.model").read_bytes()
        self.assertDone(self.tokenizer("train", "text.txt", "again.model", f"--vocab={VOCAB}"))
        self.assertEqual((self.directory / "again.model").read_bytes(), model)
        self.assertFails(self.tokenizer("train", "text.txt", "again.model", "--vocab=290"), 64, "exists", "--force")
        self.assertEqual((self.directory / "again.model").read_bytes(), model)
        self.assertDone(self.tokenizer("train", "text.txt", "again.model", "--vocab=280", "--type=unigram", "--force"))
        self.assertNotEqual((self.directory / "again.model").read_bytes(), model)
        self.assertEqual([path.name for path in self.directory.iterdir() if "tmp" in path.name], [])

    def test_from_json_lines(self):
        result = self.tokenizer("train", "text.jsonl", "lines.model", f"--vocab={VOCAB}")
        self.assertDone(result)
        self.assertIn("300 documents", result.out)
        shown = self.tokenizer("show", "lines.model", '--text={"text": "1 + 2 = 3."}')
        self.assertDone(shown)
        self.assertGreater(len(self.shown(shown)), len(self.shown(self.tokenizer("show", "lines.model",
                                                                                "--text=1 + 2 = 3."))))

    def shown(self, result):
        """The tokens that `tokenizer show` prints, as (id, what it stands for)."""
        return re.findall(r"^ +(\d+)  ('.*'|<0x..>)$", result.out, re.M)

    def test_show(self):
        result = self.tokenizer("show", "sums.model", "--text=17 + 25 = 42.\n\t\u4e16")
        self.assertDone(result)
        self.assertIn(f"sums.model: {VOCAB} tokens", result.out)
        texts = [text for _, text in self.shown(result)]
        self.assertEqual(texts[-5:], ["<0x0A>", "<0x09>", "<0xE4>", "<0xB8>", "<0x96>"])
        self.assertEqual("".join(text[1:-1] for text in texts[:-5]), "17 + 25 = 42.")
        self.assertLess(len(texts) - 5, len("17 + 25 = 42."))

    def test_what_it_refuses(self):
        files = {"empty.txt": b"", "blank.txt": b"\n\t\n", "ids.bin": b"ab", "bad.jsonl": b"{}\n",
                 "letters.txt": b"abcdefgh"}
        for name, content in files.items():
            (self.directory / name).write_bytes(content)
        cases = {
            ("train", "none.txt", "new.model"): (65, ["none.txt", "No such file"]),
            ("train", ".", "new.model"): (65, ["is not a file"]),
            ("train", "empty.txt", "new.model"): (65, ["empty.txt", "no text to learn from"]),
            ("train", "blank.txt", "new.model"): (65, ["blank.txt", "no text to learn from"]),
            ("train", "bad.jsonl", "new.model"): (65, ["bad.jsonl", "line 1"]),
            ("train", "ids.bin", "new.model"): (64, ["ids.bin", "--format=text"]),
            ("train", "text.txt", "new"): (64, ["'new'", "name it new.model"]),
            ("train", "text.txt", "none/new.model"): (73, ["none/new.model", "No such file"]),
            ("train", "letters.txt", "new.model", "--vocab=260"): (64, ["--vocab=260", "set it to 265 or more"]),
            ("train", "text.txt", "new.model", "--vocab=1000000"): (64, ["--vocab=1000000", "set it to at most"]),
            ("show", "none.model"): (65, ["none.model", "No such file"]),
            ("show", "text.txt"): (65, ["text.txt", "no SentencePiece model"]),
        }
        for arguments, (code, mentions) in cases.items():
            with self.subTest(" ".join(arguments)):
                self.assertFails(self.tokenizer(*arguments), code, *mentions)
                self.assertEqual([path.name for path in self.directory.iterdir() if path.name.startswith("new")], [])
        self.assertFails(annulus.run(["tokenizer", "show", self.directory / "sums.model"], 2), 64, "one rank")

    # ---- training

    def test_it_learns(self):
        losses = annulus.losses(self.trained.metrics())
        self.assertLess(losses[8], losses[1] - 0.5)
        self.assertIn(f"tokenizer: sums.model, {VOCAB} tokens", self.result.out)
        self.assertNotIn("never in a text", self.result.out)
        self.assertIn("per byte", self.result.out)

    def test_the_same_on_any_ranks(self):
        cases = {"2 ranks": ({}, 2, False), "4 ranks by messages": ({"parallel.transport": "mpi"}, 4, False),
                 "dp 2": ({"parallel.dp": 2, "parallel.cp": 1}, 2, False), "4 threads": ({}, 4, True)}
        runs = {name: self.make(name, *case) for name, case in cases.items()}
        for (name, run), result in zip(runs.items(), annulus.together([run.train for run in runs.values()])):
            with self.subTest(name):
                self.assertDone(result)
                for mine, its in zip(self.trained.metrics(), run.metrics(), strict=True):
                    for key in ("loss", "val_loss", "val_loss_per_byte"):
                        self.assertEqual(key in mine, key in its)
                        if key in mine:
                            self.assertAlmostEqual(its[key], mine[key], delta=1e-5 * mine[key])

    def test_the_loss_per_byte_is_exact(self):
        """Of the last twentieth of the tokens, all but the first are predicted."""
        tokens = self.shown(self.tokenizer("show", "sums.model", f"--text={self.text.read_text()}"))
        validation = tokens[len(tokens) - int(0.05 * len(tokens)):][1:]
        num_bytes = sum(1 if text.startswith("<") else len(text) - 2 for _, text in validation)
        for line in self.trained.metrics():
            if "val_loss" in line:
                self.assertAlmostEqual(line["val_loss_per_byte"] * num_bytes, line["val_loss"] * len(validation),
                                       delta=1e-9 * len(validation))
        of_bytes = self.make("bytes", {"data.tokenizer": "bytes", "train.steps": 4})
        self.assertDone(of_bytes.train())
        self.assertEqual([line for line in of_bytes.metrics() if "val_loss_per_byte" in line], [])

    def test_more_vocabulary_than_the_tokenizer_has(self):
        run = self.make("padded", {"model.vocab": VOCAB + 20, "train.steps": 4})
        result = run.train()
        self.assertDone(result)
        self.assertEqual(result.out.count("the last 20 are never in a text"), 1)
        for seed in range(3):  # so hot that every id is about as likely
            self.assertDone(annulus.run(["sample", run.path, "--prompt=1", "--temperature=100", f"--seed={seed}"]))

    def test_documents_and_resuming(self):
        run = self.make("documents", {"data.path": "text.jsonl", "data.sequence_length": 101}, 2)
        self.assertDone(run.train())
        lines = [annulus.what_must_repeat(line) for line in run.metrics()]
        files = {path.name: path.read_bytes() for path in run.checkpoint(8).iterdir()}
        one = self.make("documents on one", {"data.path": "text.jsonl", "data.sequence_length": 101})
        self.assertDone(one.train())
        for step, loss in annulus.losses(one.metrics()).items():
            self.assertAlmostEqual(annulus.losses(run.metrics())[step], loss, delta=1e-5 * loss)
        run.forget(8)
        self.assertDone(run.train("--resume=latest"))
        self.assertEqual([annulus.what_must_repeat(line) for line in run.metrics()], lines)
        self.assertEqual({path.name: path.read_bytes() for path in run.checkpoint(8).iterdir()}, files)

    # ---- the copy in the run's directory

    def test_a_run_needs_no_other_tokenizer(self):
        self.assertEqual((self.trained.path / "tokenizer.model").read_bytes(),
                         (self.directory / "sums.model").read_bytes())
        moved = self.trained.copied_to(self.directory / "moved")
        lines = [annulus.what_must_repeat(line) for line in moved.metrics()]
        (moved.directory / "sums.model").unlink()
        moved.forget(8)
        result = moved.train("--resume=latest")
        self.assertDone(result)
        self.assertIn("taking the run's copy", result.out)
        self.assertEqual([annulus.what_must_repeat(line) for line in moved.metrics()], lines)
        sample = ["--prompt=17 + 2", "--length=12", "--temperature=0"]
        text = annulus.run(["sample", moved.path, *sample])
        self.assertDone(text)
        self.assertTrue(text.out.startswith("17 + 2"))
        self.assertLessEqual(set(text.out), set("0123456789 +=.\n"))
        alone = annulus.run(["sample", moved.checkpoint(8), *sample])
        self.assertEqual(alone.out, text.out)

    def test_a_checkpoint_alone_takes_the_configs_tokenizer(self):
        lonely = self.trained.copied_to(self.directory / "lonely")
        checkpoint = lonely.checkpoint(8).rename(lonely.directory / "step-00000008")
        sample = ["sample", "step-00000008", "--prompt=17 + 2", "--length=4"]
        self.assertDone(annulus.run(sample, cwd=lonely.directory))
        (lonely.directory / "sums.model").unlink()
        self.assertFails(annulus.run(sample, cwd=lonely.directory), 65, "data.tokenizer", "sums.model", "No such file")
        self.assertTrue(checkpoint.exists())

    def test_what_has_changed_is_refused(self):
        other = self.tokenizer("train", "text.jsonl", "other.model", "--vocab=290")
        self.assertDone(other)
        for ranks in (1, 3):
            run = self.trained.copied_to(self.directory / f"changed {ranks}")
            on_ranks = ["--resume=latest", f"--parallel.cp={ranks}"]
            (run.directory / "sums.model").write_bytes((self.directory / "other.model").read_bytes())
            self.assertFails(run.train(*on_ranks, ranks=ranks), 65, "data.tokenizer", "sums.model", "has changed",
                             "tokenizer.model")
            (run.directory / "sums.model").write_bytes((self.directory / "sums.model").read_bytes())
            text = (run.directory / "text.txt").read_text()
            (run.directory / "text.txt").write_text(text[:-3] + "?.\n")
            self.assertFails(run.train(*on_ranks, ranks=ranks), 65, "text.txt", "has changed")
            (run.directory / "text.txt").write_text(text)
            self.assertFails(run.train(*on_ranks, "--data.tokenizer=bytes", ranks=ranks), 64, "data.tokenizer")
        (run.path / "tokenizer.model").write_bytes((self.directory / "other.model").read_bytes())
        self.assertFails(annulus.run(["sample", run.path, "--prompt=1"]), 65, "tokenizer.model", "restore it")
        (run.path / "tokenizer.model").write_bytes(b"")
        self.assertFails(annulus.run(["sample", run.path, "--prompt=1"]), 65, "tokenizer.model", "no SentencePiece")

    def test_inspect_names_it(self):
        result = annulus.run(["inspect", self.trained.path])
        self.assertDone(result)
        shown = self.tokenizer("show", "sums.model").out
        digest = re.search(r"XXH3-128 +(\w+)", shown)[1]
        self.assertRegex(result.out, f"tokenizer digest +{digest}")

    def test_memory_is_as_announced(self):
        """Also behind a text of some length, whose encoding takes and frees memory before the run is planned."""
        run = self.make("memory", {"model.width": 320, "model.layers": 3, "model.heads": 5, "model.kv_heads": 5,
                                   "data.sequence_length": 500, "data.validation_fraction": 0.001, "train.steps": 2,
                                   "data.path": "long.txt"})
        (run.directory / "long.txt").write_text(self.text.read_text() * 250)
        result = run.train()
        self.assertDone(result)
        self.assertRegex(result.out, r"dataset \d")
        planned, used = re.search(r"memory of all ranks: (\S+) MiB planned, at most (\S+) MiB used", result.out).groups()
        self.assertAlmostEqual(float(used) / float(planned), 1.0, delta=0.05, msg=result.out)

    def test_plan_counts_the_tokens(self):
        result = annulus.run(["plan", "config.toml"], cwd=self.trained.directory)
        self.assertDone(result)
        self.assertRegex(result.out, r"dataset +\d")


if __name__ == "__main__":
    annulus.main()
