#!/usr/bin/env python3
"""report.html and trace.json: what a run shows of itself, at its end and by `annulus report`."""
import html.parser
import json
import os
import re
import shutil

import annulus_runner as annulus
from annulus_runner import TinyRun

SECTIONS = ["loss", "speed", "ring", "balance", "memory", "config"]
STEPS, TRACED = annulus.TINY["train.steps"], 4
UNCLOSED = {"meta", "br"}  # tags of HTML that have no end


class Page(html.parser.HTMLParser):
    """Checks that what opens closes, and keeps what it says."""

    def __init__(self, text):
        super().__init__()
        self.open, self.problems, self.tags, self.ids, self.attributes, self.words = [], [], [], [], [], []
        self.feed(text)
        self.close()
        self.problems += [f"<{tag}> is never closed" for tag in self.open]
        self.text = " ".join(self.words)

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag not in UNCLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def note(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.attributes += [name for name, _ in attrs]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes nothing")

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words += data.split()


class Report(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        changes = {"train.trace_step": TRACED, "train.validate_every": 2, "model.layers": 2}
        cls.trained = TinyRun(cls.directory / "run", changes, ranks=3)
        cls.result = cls.trained.train()
        cls.page_text = (cls.trained.path / "report.html").read_text()

    def setUp(self):
        self.assertDone(self.result)

    def report(self, path, *options):
        return annulus.run(["report", path, *options], cwd=self.directory)

    def copy_of_run(self, name):
        leave = shutil.ignore_patterns("report.html", "checkpoints")
        return shutil.copytree(self.trained.path, self.directory / name, ignore=leave)

    def page_of(self, path):
        result = self.report(path)
        self.assertDone(result)
        page = Page((path / "report.html").read_text())
        self.assertEqual(page.problems, [])
        self.assertEqual(page.ids, SECTIONS)
        self.assertNotRegex(page.text, r"\bnan\b|\binf\b")
        return page

    def test_the_page_is_whole_and_stands_alone(self):
        page = Page(self.page_text)
        self.assertEqual(page.problems, [])
        self.assertEqual(page.ids, SECTIONS)
        for tag in ("script", "link", "img", "iframe", "object", "a"):
            self.assertNotIn(tag, page.tags)
        for attribute in ("href", "src", "onclick", "onload"):
            self.assertNotIn(attribute, page.attributes)
        for fetch in ("http:", "https:", "url(", "@import"):
            self.assertNotIn(fetch, self.page_text)
        self.assertNotRegex(self.page_text, r"=\"-?(nan|inf)")
        # Six charts of curves, three pictures of the ring, two of balance, one of memory.
        self.assertEqual(page.tags.count("svg"), 12)
        self.assertLess(len(self.page_text), 500_000)

    def test_it_says_what_ran_and_how_it_ended(self):
        text = Page(self.page_text).text
        lines = self.trained.metrics()
        validation = [line["val_loss"] for line in lines if "val_loss" in line]
        losses = list(annulus.losses(lines).values())
        for expected in (f"{validation[-1]:.4f}", f"{sum(losses) / len(losses):.4f}", f"{STEPS} of {STEPS} steps",
                         f"{STEPS * 3 * 67:,} tokens", "3 = dp 1 x cp 3", "zigzag", "2 layers of width 32", "text.txt",
                         "planned", "used at most", "seed = 7"):
            self.assertTrue(expected in text, expected)

    def test_a_copy_gives_the_same_page(self):
        copied = self.copy_of_run("copied")
        self.assertDone(self.report(copied))
        self.assertEqual((copied / "report.html").read_text(), self.page_text)
        result = self.report(self.trained.path, "--output=elsewhere.html")
        self.assertDone(result)
        self.assertIn("elsewhere.html", result.out)
        self.assertEqual((self.directory / "elsewhere.html").read_text(), self.page_text)

    def test_the_trace_is_of_that_step(self):
        trace = json.loads((self.trained.path / "trace.json").read_text())
        self.assertEqual(trace["otherData"]["step"], TRACED)
        self.assertEqual(trace["otherData"]["dropped_spans"], 0)
        events = trace["traceEvents"]
        names = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
        self.assertEqual([name.split(" (")[0] for name in names], ["rank 0", "rank 1", "rank 2"])
        spans = [event for event in events if event["ph"] == "X"]
        for span in spans:
            self.assertTrue(span["ts"] >= 0 and span["dur"] >= 0 and span["pid"] == 1 and 1 <= span["tid"] <= 3, span)
        # Two micro-batches, two layers, forward and backward, three blocks, on three ranks.
        visits = [(span["tid"], span["cat"], span["args"]["micro_batch"], span["args"]["layer"], span["args"]["visit"])
                  for span in spans if span["name"] == "attention visit"]
        self.assertEqual(len(visits), 2 * 2 * 2 * 3 * 3)
        self.assertEqual(len(set(visits)), len(visits))
        line = [line for line in self.trained.metrics() if line["step"] == TRACED and "loss" in line][0]
        shares = []
        for rank in (1, 2, 3):
            step = [span["dur"] for span in spans if span["name"] == "step" and span["tid"] == rank]
            waits = sum(span["dur"] for span in spans if span["name"] == "wait" and span["tid"] == rank)
            self.assertEqual(len(step), 1)
            shares.append(waits / step[0])
            if rank == 1:
                self.assertAlmostEqual(step[0] * 1e-6, line["seconds"], delta=1e-5 * line["seconds"])
        # wait_fraction is written with four digits: half a unit of the last is at most 5e-4 of the number.
        self.assertAlmostEqual(sum(shares) / 3, line["wait_fraction"], delta=5e-4 * line["wait_fraction"] + 1e-6)

    def test_recording_changes_no_loss_and_can_be_left_out(self):
        config = {"train.trace_step": 0, "train.validate_every": 2, "model.layers": 2}
        without = TinyRun(self.directory / "without", config, ranks=3)
        self.assertDone(without.train())
        self.assertSameLines(without.metrics(), self.trained.metrics())
        self.assertFalse((without.path / "trace.json").exists())
        page = self.page_of(without.path)
        self.assertIn("train.trace_step is 0", page.text)

    def test_the_last_step_and_a_later_part(self):
        """A run shorter than trace_step records its last step; one that is resumed, its third."""
        def traced():
            return json.loads((run.path / "trace.json").read_text())["otherData"]
        run = TinyRun(self.directory / "parts", {"train.steps": 2, "train.schedule": "constant"}, ranks=2)
        self.assertDone(run.train())
        self.assertEqual(traced()["step"], 2)
        later = ["--resume=latest", "--train.steps=20"]
        run.config.write_text(run.config.read_text().replace("cp = 2", "cp = 1"))
        self.assertDone(run.train(*later, "--train.trace_step=1", ranks=1))
        self.assertEqual((traced()["step"], traced()["cp"]), (5, 1))
        before = (run.path / "trace.json").read_text()
        self.assertDone(run.train(*later, ranks=1))  # it is done already
        self.assertEqual((run.path / "trace.json").read_text(), before)

    def test_damage_is_named_on_the_page(self):
        def cut(path):
            os.truncate(path, path.stat().st_size * 2 // 3)
        for name, harm, mention in (("metrics.jsonl", cut, "its last line is cut short"),
                                    ("trace.json", cut, "trace.json is damaged"),
                                    ("trace.json", os.unlink, "the run directory has no trace.json"),
                                    ("machine.json", cut, "machine.json is damaged"),
                                    ("machine.json", os.unlink, "the run directory has no machine.json")):
            with self.subTest(name, harm=harm.__name__):
                path = self.copy_of_run(f"{harm.__name__} {name}")
                harm(path / name)
                self.assertTrue(mention in self.page_of(path).text)
        path = self.copy_of_run("no step")
        (path / "metrics.jsonl").write_text("")
        self.assertIn("nothing was written down", self.page_of(path).text)

    def test_a_trace_that_is_no_trace(self):
        good = (self.trained.path / "trace.json").read_text()
        for text in ("[]", "{}", "null", '{"otherData": 1}', good.replace('"tid": 3', '"tid": 300'),
                     good.replace('"block": 1', '"block": 99'), good.replace('"name": "wait"', '"name": 7'),
                     good.replace('"cp":3', '"cp":99999999'), good.replace('"dur": ', '"dur": -'),
                     good.replace('"layer": 0', '"layer": []')):
            path = self.copy_of_run("hostile")
            (path / "trace.json").write_text(text)
            self.assertTrue("trace.json is damaged" in self.page_of(path).text, text[:100])
            shutil.rmtree(path)
        again = self.copy_of_run("again")
        (again / "trace.json").write_text(json.dumps(json.loads(good), indent=1, sort_keys=True))
        self.assertDone(self.report(again))
        self.assertEqual((again / "report.html").read_text(), self.page_text, "another program may have saved it")

    def test_what_people_write_is_text(self):
        path = self.copy_of_run("names")
        config = (path / "config.toml").read_text()
        evil = "</style><script>alert(1)</script>&"
        (path / "config.toml").write_text(config.replace('path = "text.txt"', f'path = "{evil}"'))
        machine = json.loads((path / "machine.json").read_text())
        for key in ("annulus", "started", "cpu", "transport"):
            machine[key] = evil
        machine["nodes"][0]["name"] = evil
        machine["memory_plan"][0]["category"] = evil
        (path / "machine.json").write_text(json.dumps(machine))
        trace = json.loads((path / "trace.json").read_text())
        for key in ("run", "placement", "transport"):
            trace["otherData"][key] = evil
        (path / "trace.json").write_text(json.dumps(trace))
        page = self.page_of(path)
        self.assertNotIn("script", page.tags)
        self.assertGreaterEqual(page.text.count("alert(1)"), 7)

    def test_what_is_no_run(self):
        (self.directory / "empty").mkdir()
        (self.directory / "file").write_text("")
        for name, code, mention in (("none", 64, "not there"), ("file", 64, "no directory"), ("empty", 65, "config.toml")):
            self.assertFails(self.report(name), code, name, mention, "runs/NAME")
        path = self.copy_of_run("no metrics")
        (path / "metrics.jsonl").unlink()
        self.assertFails(self.report(path), 65, "metrics.jsonl", "annulus train")
        (path / "config.toml").write_text("[model]\nlayers = 0\n")
        self.assertFails(self.report(path), 65, "config.toml", "model.layers")
        self.assertFails(annulus.run(["report"]), 64, "run")
        self.assertFails(annulus.run(["report", self.trained.path], ranks=2), 64, "one rank", "2 were started")
        for output in ("none/report.html", ".", "/dev/null"):
            self.assertFails(self.report(self.trained.path, f"--output={output}"), 73, output)

    def test_a_page_that_cannot_be_written_costs_a_warning(self):
        run = TinyRun(self.directory / "in the way", {"train.steps": 2})
        self.assertDone(run.train())
        for name in ("report.html", "trace.json"):
            (run.path / name).unlink()
            (run.path / name / "something").mkdir(parents=True)
        result = run.train("--resume=latest", "--train.steps=3")
        self.assertDone(result)
        self.assertEqual([re.match(r"annulus: warning: no (trace|report)", line)[1] for line in result.warnings],
                         ["trace", "report"], result)
        self.assertTrue(run.checkpoint(3).exists())


if __name__ == "__main__":
    annulus.main()
