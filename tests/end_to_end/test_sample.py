#!/usr/bin/env python3
"""`annulus sample`: text from a checkpoint, the same for the same seed."""
import annulus_runner as annulus
from annulus_runner import TinyRun

PROMPT = "17 + 25 = "


class Sample(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trained = TinyRun(cls.directory / "run", {"checkpoint.every": 10, "train.steps": 40}, ranks=3)
        cls.result = cls.trained.train()

    def setUp(self):
        self.assertDone(self.result)

    def sample(self, *options, of=None, prompt=PROMPT, length=12):
        return annulus.run(["sample", of or self.trained.path, f"--prompt={prompt}", f"--length={length}",
                            "--threads=1", *options])

    def text(self, *options, **arguments):
        """As bytes: a model of bytes need not write UTF-8."""
        result = self.sample(*options, **arguments)
        self.assertDone(result)
        self.assertEqual(result.err, "")
        return result.out.encode(errors="surrogateescape")

    def test_the_same_seed_writes_the_same_text(self):
        for options in ([], ["--seed=3"], ["--temperature=2", "--seed=3"], ["--top-k=4"]):
            with self.subTest(" ".join(options)):
                self.assertEqual(self.text(*options), self.text(*options))
        texts = {self.text(f"--seed={seed}", "--temperature=2") for seed in range(4)}
        self.assertGreater(len(texts), 1)

    def test_temperature_0_takes_the_likeliest(self):
        likeliest = self.text("--temperature=0")
        self.assertEqual(self.text("--temperature=0", "--seed=5"), likeliest)
        self.assertEqual(self.text("--top-k=1", "--seed=5"), likeliest)  # of one token there is one choice
        self.assertEqual(self.text("--temperature=1e-5", "--seed=5"), likeliest)

    def test_the_prompt_comes_first(self):
        for prompt in (PROMPT, "a", "Grüße, 世界", "-1", "x" * 200):  # the last is longer than a training sequence
            for length in (1, 5):
                text = self.text("--temperature=0", prompt=prompt, length=length)
                self.assertTrue(text.startswith(prompt.encode()), text)
                self.assertEqual(len(text), len(prompt.encode()) + length + 1)  # and a line end

    def test_longer_is_the_same_and_more(self):
        self.assertTrue(self.text(length=20).startswith(self.text(length=5)[:-1]))

    def test_it_has_learnt_something(self):
        """Nothing but what the training text is made of, when it always takes the likeliest."""
        text = self.text("--temperature=0", length=30)[:-1].decode()
        self.assertLessEqual(set(text), set("0123456789 +=.\n"))

    def test_a_run_is_its_newest_checkpoint(self):
        by_run = self.text("--temperature=1")
        self.assertEqual(self.text("--temperature=1", of=self.trained.checkpoint(40)), by_run)
        self.assertEqual(self.text("--temperature=1", of=f"{self.trained.checkpoint(40)}/"), by_run)
        self.assertNotEqual(self.text("--temperature=1", of=self.trained.checkpoint(10), length=40),
                            self.text("--temperature=1", length=40))

    def test_the_checkpoint_of_one_rank_is_as_good(self):
        """The state that 3 ranks saved, saved again by one after an update with learning rate 0."""
        again = ["--run.name=again", f"--resume={self.trained.checkpoint(40)}", "--train.steps=41", "--parallel.cp=1",
                 "--train.learning_rate=0", "--train.min_learning_rate=0"]
        self.assertDone(self.trained.train(*again, ranks=1))
        self.assertEqual(self.text(of=self.trained.path.with_name("again"), length=30), self.text(length=30))

    def test_what_is_no_checkpoint(self):
        empty = self.directory / "empty"
        empty.mkdir()
        for path in (self.directory / "none", empty, self.trained.path / "checkpoints"):
            with self.subTest(path.name):
                self.assertFails(self.sample(of=path), 66, str(path), "runs/NAME")
        self.assertFails(self.sample(of=self.trained.config), 66, str(self.trained.config))

    def test_a_damaged_checkpoint(self):
        for step, file in ((10, "MANIFEST"), (20, "part-00000-00.h5"), (30, "part-00002-00.h5")):
            path = self.trained.checkpoint(step) / file
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
            with self.subTest(file):
                self.assertFails(self.sample(of=path.parent), 66, file, "damaged")
                content[len(content) // 2] ^= 1
                path.write_bytes(content)

    def test_options(self):
        for option, name in (("--temperature=-1", "--temperature"), ("--temperature=hot", "--temperature"),
                             ("--length=0", "--length"), ("--top-k=-1", "--top-k"), ("--seed=x", "--seed"),
                             ("--prompt=", "prompt")):
            with self.subTest(option):
                result = annulus.run(["sample", self.trained.path, option,
                                      *([] if name == "prompt" else [f"--prompt={PROMPT}"])])
                self.assertFails(result, 64, name)

    def test_several_ranks(self):
        result = annulus.run(["sample", self.trained.path, f"--prompt={PROMPT}"], ranks=3)
        self.assertFails(result, 64, "one rank", "3 were started")
        self.assertEqual(result.out, "")


if __name__ == "__main__":
    annulus.main()
