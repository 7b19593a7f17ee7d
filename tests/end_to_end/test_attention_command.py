#!/usr/bin/env python3
"""`annulus attention IN OUT` against full attention written out in numpy, and how it refuses what it cannot do."""
import math
import os

import h5py
import numpy as np

import annulus_runner as annulus
from attention_reference import (FAR, INPUTS, RESULTS, Reference, full_attention, random_problem, visible_pairs,
                                 scaled, write_problem)

PLACEMENTS = ("contiguous", "zigzag", "striped")


# ---- the formulas of DESIGN, section 6, for the flat ring


def positions(placement, tokens, ranks):
    """Of the tokens of each rank."""
    def chunk(c, n):
        return range(c * tokens // n, (c + 1) * tokens // n)

    if placement == "contiguous":
        return [list(chunk(r, ranks)) for r in range(ranks)]
    if placement == "zigzag":
        return [[*chunk(r, 2 * ranks), *chunk(2 * ranks - 1 - r, 2 * ranks)] for r in range(ranks)]
    return [list(range(r, tokens, ranks)) for r in range(ranks)]


def expected_bytes(problem, placement, ranks):
    (B, S, _, D), (_, Sk, K, _), Dv = problem["q"].shape, problem["k"].shape, problem["v"].shape[3]
    queries, keys = positions(placement, S, ranks), positions(placement, Sk, ranks)
    block = [B * len(tokens) * K * (D + Dv) * 4 for tokens in keys]
    visible = visible_pairs(problem["slices"], S, Sk)
    expected = {f"bytes_{what}_{way}": [] for what in ("sent", "visited") for way in ("forward", "backward")}
    for r in range(ranks):
        others = [b for b in range(ranks) if b != r]
        seen = [b for b in others if visible[np.ix_(queries[r], keys[b])].any()]
        expected["bytes_visited_forward"].append(sum(block[b] for b in seen))
        expected["bytes_visited_backward"].append(2 * sum(block[b] for b in seen))
        if ranks == 1:
            expected["bytes_sent_forward"].append(0)
            expected["bytes_sent_backward"].append(0)
        else:
            expected["bytes_sent_forward"].append(sum(block) - block[(r + 1) % ranks])
            gradients = sum(block[b] for b in others)
            expected["bytes_sent_backward"].append(sum(block) - block[(r - 1) % ranks] + gradients)
    return {name: np.array(values, np.int64) for name, values in expected.items()}


# ---- problems


DOCUMENTS = [  # a causal document, one with a window of 5, tokens that see nothing, a document that sees both ways
    (0, 31, 0, 31, 0, FAR),
    (31, 70, 31, 70, 0, 4),
    (83, 100, 83, 100, -FAR, FAR),
    (83, 100, 0, 2, -FAR, FAR),  # ... and two sinks
]
PROBLEMS = {
    "causal": random_problem(1, B=2, S=37, H=4, K=2, D=16, Dv=24),
    "documents": random_problem(2, S=101, H=3, K=1, D=8, slices=DOCUMENTS, scale=0.5),
    "fewer keys": random_problem(3, B=2, S=70, Sk=3, H=2, K=2, D=24, Dv=8),
    "fewer queries": random_problem(4, S=3, Sk=70, H=4, K=2, D=8, slices=[(0, 3, 0, 70, -FAR, FAR)]),
    "one token": random_problem(5, S=1, H=1, K=1, D=8),
    "several tiles": random_problem(6, S=259, H=2, K=1, D=64, scale=0.3),
    "nothing seen": random_problem(7, S=20, slices=[]),
    "subnormal": scaled(random_problem(8, S=40), v=1e-40),  # a library that flushes such numbers makes out and dq 0
}


class Numbers(annulus.TestCase):
    """Problems, placements, transports and numbers of ranks."""

    def cases(self):
        """(problem, placement, transport, ranks)"""
        chosen = []
        for ranks in (1, 2, 3, 4):
            for i, placement in enumerate(PLACEMENTS):
                chosen += [("causal", placement, transport, ranks) for transport in ("shared", "mpi", "in-process")]
                chosen += [("documents", placement, "in-process", ranks)]
                if ranks == i + 2:  # each placement once
                    chosen += [(name, placement, transport, ranks) for name in ("documents", "several tiles")
                               for transport in ("shared", "mpi")]
        for i, name in enumerate(("fewer keys", "fewer queries", "one token", "nothing seen", "several tiles")):
            chosen += [(name, placement, "in-process", ranks) for placement in PLACEMENTS for ranks in (3, 4)]
            chosen += [(name, PLACEMENTS[i % 3], transport, 4) for transport in ("shared", "mpi")]
        chosen += [("subnormal", "zigzag", transport, 2) for transport in ("shared", "mpi", "in-process")]
        return list(dict.fromkeys(chosen))

    def attend(self, name, placement, transport, ranks):
        path = self.directory / f"{name}.{placement}.{transport}.{ranks}.h5"
        options = ["attention", self.inputs[name], path, f"--placement={placement}", "--threads=1"]
        if transport == "in-process":
            result = annulus.run([*options, f"--in-process-ranks={ranks}"])
        else:
            result = annulus.run([*options, f"--transport={transport}"], ranks, "mpirun")
        if result.code != 0:
            return result, None, None
        with h5py.File(path, "r") as file:
            return result, {key: file[key][...] for key in file}, dict(file.attrs)

    def test_against_full_attention(self):
        self.__class__.inputs = {name: write_problem(self.directory / f"{name}.h5", problem)
                                 for name, problem in PROBLEMS.items()}
        references = {name: Reference(problem) for name, problem in PROBLEMS.items()}
        cases, first = self.cases(), {}
        for case, (result, out, attributes) in zip(
                cases, annulus.together([lambda case=case: self.attend(*case) for case in cases])):
            name, placement, transport, ranks = case
            with self.subTest(name, placement=placement, transport=transport, ranks=ranks):
                self.assertDone(result)
                self.assertEqual(sorted(out), sorted(RESULTS))
                self.assertEqual(references[name].problems_of(out), [])
                self.check_attributes(attributes, PROBLEMS[name], placement, transport, ranks)
                same = first.setdefault((name, placement, ranks), out)
                self.assertEqual([key for key in RESULTS if out[key].tobytes() != same[key].tobytes()], [],
                                 "bits depend on the transport")
        self.assertGreater(len(cases), len(first))

    def check_attributes(self, attributes, problem, placement, transport, ranks):
        texts = {"placement": placement, "dtype": "f32", "transport": transport}
        for name, text in texts.items():
            self.assertEqual(np.bytes_(attributes.pop(name)), text.encode())
        self.assertEqual(attributes["ranks"].dtype, np.int64)
        self.assertEqual(int(attributes.pop("ranks")), ranks)
        for name, values in expected_bytes(problem, placement, ranks).items():
            if transport != "mpi" and name.startswith("bytes_sent"):
                values = np.zeros_like(values)  # neighbours compute from the owner's block
            got = attributes.pop(name)
            self.assertEqual(got.dtype, np.int64, name)
            self.assertEqual(got.tolist(), values.tolist(), name)
        for name in ("seconds_forward", "seconds_backward", "wait_seconds"):
            got = attributes.pop(name)
            self.assertEqual((got.dtype, got.shape), (np.float64, (ranks,)), name)
            self.assertTrue(np.all(np.isfinite(got) & (got >= 0)), name)
        self.assertEqual(attributes, {})

    def test_the_reference_itself(self):
        """By hand: two tokens, one head; and the gradients against differences of the forward formula."""
        problem = random_problem(0, S=2, H=1, D=8)
        for name, value in (("q", 0.0), ("k", 1.0), ("dout", 1.0)):
            problem[name][:] = value
        problem["v"][0, 0], problem["v"][0, 1] = 1.0, 3.0
        exact = full_attention(problem, np.float64)
        self.assertEqual(exact["out"][0, :, 0, 0].tolist(), [1.0, 2.0])
        np.testing.assert_allclose(exact["lse"][0, 0], [0.0, math.log(2)], atol=1e-15)
        np.testing.assert_allclose(exact["dv"][0, :, 0, 0], [1.5, 0.5])
        problem = random_problem(8, S=5, Sk=4, H=4, K=2, D=8)
        exact = full_attention(problem, np.float64)
        for name in ("q", "k", "v"):
            step, losses = 1e-5, []
            for sign in (1, -1):
                moved = dict(problem, **{name: problem[name].astype(np.float64)})
                moved[name][0, 1, 1, 3] += sign * step
                losses.append(np.sum(full_attention(moved, np.float64)["out"] * problem["dout"]))
            self.assertAlmostEqual((losses[0] - losses[1]) / (2 * step), exact["d" + name][0, 1, 1, 3], places=8)

    def test_repeats(self):
        """More repetitions change neither results nor counts."""
        source, outs = write_problem(self.directory / "again.h5", PROBLEMS["causal"]), []
        for repeat in (1, 3):
            path = self.directory / f"repeat-{repeat}.h5"
            self.assertDone(annulus.run(["attention", source, path, f"--repeat={repeat}", "--transport=mpi"], 2))
            with h5py.File(path, "r") as file:
                outs.append([file[name][...].tobytes() for name in RESULTS]
                            + [file.attrs[name].tolist() for name in sorted(file.attrs) if name.startswith("bytes")])
        self.assertEqual(outs[0], outs[1])


class Refusals(annulus.TestCase):
    """Each ends in one message and one code, on any number of ranks."""

    def changed(self, name, **changes):
        """An input file in which some datasets are replaced, or left out where None is given."""
        path = self.directory / f"{name}.h5"
        problem = dict(random_problem(9, S=12, H=4, K=2, D=8), slices=None)
        with h5py.File(write_problem(path, problem), "a") as file:
            for key, value in changes.items():
                if key in file:
                    del file[key]
                if key == "softmax_scale":
                    file.attrs[key] = value
                elif value is not None:
                    file[key] = value
        return path

    def declared(self, name, S, B=1):
        """Datasets of a size that nobody has written."""
        path = self.directory / f"{name}.h5"
        with h5py.File(path, "w") as file:
            for key in INPUTS:
                file.create_dataset(key, (B, S, 2, 256), np.float32, chunks=(1, 16, 2, 256))
        return path

    def with_value(self, name, value):
        tensor = np.zeros((1, 12, 2 if name in "kv" else 4, 8), np.float32)
        tensor[0, -1, -1, -1] = value
        return {name: tensor}

    def check(self, cases, ranks=(1, 3)):
        """name: (input, options, code, texts that the message must hold[, output])"""
        jobs, out = {}, self.directory / "out.h5"
        for name, (source, options, code, mentions, *output) in cases.items():
            arguments = ["attention", source, output[0] if output else out, *options]
            for number in ranks:
                jobs[name, number] = lambda a=arguments, n=number: annulus.run(a, n)
            jobs[name, "2 threads"] = lambda a=arguments: annulus.run([*a, "--in-process-ranks=2"])
        for (name, number), result in zip(jobs, annulus.together(jobs.values(), at_once=6)):
            with self.subTest(name, ranks=number):
                self.assertFails(result, cases[name][2], *cases[name][3])
                self.assertEqual(result.out, "")
                self.assertFalse(out.exists())

    def test_input_files(self):
        def zeros(*shape):
            return np.zeros(shape, np.float32)

        def slices(*rows):
            return np.array(rows, np.int64)

        text = annulus.write_text(self.directory / "text.h5")
        cut = self.directory / "cut.h5"
        cut.write_bytes(self.changed("whole").read_bytes()[:3000])
        empty, pipe, circle = (self.directory / name for name in ("empty.h5", "pipe", "circle"))
        empty.write_bytes(b"")
        os.mkfifo(pipe)
        circle.symlink_to("circle")
        changes = {  # name: datasets to replace, texts of the message
            "float64": ({"k": np.zeros((1, 12, 2, 8))}, ["'k'", "float32", "convert"]),
            "float16": ({"v": np.zeros((1, 12, 2, 8), np.float16)}, ["'v'", "convert"]),
            "int32 slices": ({"mask_slices": np.zeros((1, 6), np.int32)}, ["'mask_slices'", "int64"]),
            "no dout": ({"dout": None}, ["'dout'", "q, k, v and dout"]),
            "no q": ({"q": None}, ["'q'"]),
            "3 dimensions": ({"q": zeros(12, 4, 8)}, ["'q'", "(B, S, H, D)"]),
            "no tokens": ({"q": zeros(1, 0, 4, 8)}, ["'q'", "(B, S, H, D)"]),
            "other batch": ({"k": zeros(2, 12, 2, 8)}, ["k is", "B and D must agree"]),
            "other width": ({"k": zeros(1, 12, 2, 16)}, ["k is", "B and D must agree"]),
            "other keys": ({"v": zeros(1, 11, 2, 8)}, ["v is", "must agree"]),
            "other dout": ({"dout": zeros(1, 12, 4, 16)}, ["dout is", "expected (1, 12, 4, 8)"]),
            "heads": ({"k": zeros(1, 12, 3, 8), "v": zeros(1, 12, 3, 8)}, ["4 query heads", "multiple of 3"]),
            "width 12": ({"q": zeros(1, 12, 4, 12), "k": zeros(1, 12, 2, 12)}, ["12", "multiple of 8", "16"]),
            "width 264": ({"q": zeros(1, 12, 4, 264), "k": zeros(1, 12, 2, 264)}, ["264", "256"]),
            "slices of 5": ({"mask_slices": np.zeros((2, 5), np.int64)}, ["'mask_slices'", "(n, 6)"]),
            "overlap": ({"mask_slices": slices([0, 12, 0, 12, 0, FAR], [4, 6, 0, 5, 1, 2])}, ["overlap", "disjoint"]),
            "outside": ({"mask_slices": slices([0, 13, 0, 12, 0, FAR])}, ["outside", "12 queries"]),
            "inverted": ({"mask_slices": slices([0, 12, 0, 12, 3, 2])}, ["empty", "lo <= hi"]),
            "width 0": ({name: zeros(1, 12, 2 if name in "kv" else 4, 0) for name in INPUTS}, ["'q'", "none zero"]),
            "width 1": ({name: zeros(1, 12, 2 if name in "kv" else 4, 1) for name in INPUTS}, ["width of 1", "8"]),
            "width 7": ({name: zeros(1, 12, 2 if name in "kv" else 4, 7) for name in INPUTS}, ["width of 7", "8"]),
            "values of width 9": ({"v": zeros(1, 12, 2, 9), "dout": zeros(1, 12, 4, 9)}, ["width of 9", "16"]),
            "no keys": ({"k": zeros(1, 0, 2, 8), "v": zeros(1, 0, 2, 8)}, ["'k'", "(B, Sk, K, D)"]),
            "no query heads": ({"q": zeros(1, 12, 0, 8), "dout": zeros(1, 12, 0, 8)}, ["'q'", "none zero"]),
            "no key heads": ({"k": zeros(1, 12, 0, 8), "v": zeros(1, 12, 0, 8)}, ["'k'", "none zero"]),
            "no batch": ({"q": zeros(0, 12, 4, 8)}, ["'q'", "none zero"]),
            "more key heads than query heads": ({"k": zeros(1, 12, 8, 8), "v": zeros(1, 12, 8, 8)}, ["multiple of 8"]),
            "5 dimensions": ({"q": zeros(1, 12, 4, 8, 1)}, ["'q'", "5 dimensions"]),
            "a number": ({"q": np.float32(1)}, ["'q'", "(B, S, H, D)"]),
            "a text": ({"q": "text"}, ["'q'", "convert"]),
            "integers": ({"q": np.zeros((1, 12, 4, 8), np.int32)}, ["'q'", "integer", "convert"]),
            "integers of 64 bits": ({"q": np.zeros((1, 12, 4, 8), np.int64)}, ["'q'", "float32", "convert"]),
            "complex numbers": ({"q": np.zeros((1, 12, 4, 8), np.complex64)}, ["'q'", "convert"]),
            "no elements": ({"q": h5py.Empty("f4")}, ["'q'", "(B, S, H, D)"]),
            "a link to nowhere": ({"q": h5py.SoftLink("/gone")}, ["'q'", "q, k, v and dout"]),
            "another file's": ({"q": h5py.ExternalLink("gone.h5", "/q")}, ["'q'", "q, k, v and dout"]),
            "a slice that begins below 0": ({"mask_slices": slices([-1, 12, 0, 12, 0, 4])}, ["outside", "0 <= q0"]),
            "a slice that ends too early": ({"mask_slices": slices([12, 0, 0, 12, 0, 4])}, ["outside", "q0 <= q1"]),
            "a band of 64 bits": ({"mask_slices": slices([0, 12, 0, 12, -2**63, 2**63 - 1])}, ["too wide", "2^62"]),
            "a slice twice": ({"mask_slices": slices(*[[0, 12, 0, 12, 0, 4]] * 2)}, ["overlap", "disjoint"]),
            "slices of float64": ({"mask_slices": np.zeros((1, 6))}, ["'mask_slices'", "int64"]),
            "a slice in one dimension": ({"mask_slices": np.zeros(6, np.int64)}, ["'mask_slices'", "(n, 6)"]),
            "infinite scale": ({"softmax_scale": np.inf}, ["softmax_scale", "leave the attribute out"]),
            "scale as an integer": ({"softmax_scale": 1}, ["softmax_scale", "numpy.float64"]),
            "NaN": (self.with_value("v", np.nan), ["'v'", "not finite"]),
            "infinity": (self.with_value("dout", -np.inf), ["'dout'", "not finite"]),
            "NaN scale": ({"softmax_scale": np.nan}, ["softmax_scale", "finite"]),
            "scale as text": ({"softmax_scale": "half"}, ["softmax_scale", "numpy.float64"]),
            "two scales": ({"softmax_scale": [0.5, 0.5]}, ["softmax_scale"]),
        }
        cases = {name: (self.changed(name, **datasets), [], 65, mentions)
                 for name, (datasets, mentions) in changes.items()}
        cases |= {
            "no file": (self.directory / "none.h5", [], 65, ["none.h5", "No such file"]),
            "a directory": (self.directory, [], 65, ["not a file", "HDF5"]),
            "not HDF5": (text, [], 65, ["text.h5", "not an HDF5 file"]),
            "cut off": (cut, [], 65, ["cut.h5"]),
            "empty": (empty, [], 65, ["empty.h5", "not an HDF5 file"]),
            "a pipe": (pipe, [], 65, ["pipe", "not a file"]),
            "a link in a circle": (circle, [], 65, ["circle", "symbolic links"]),
            "scores too large": (self.changed("scores", softmax_scale=1e300), [], 76, ["'out'", "make them smaller"]),
            "scores of minus infinity": (
                self.changed("minus", q=np.full((1, 12, 4, 8), 1e20, np.float32),
                             k=np.full((1, 12, 2, 8), -1e20, np.float32)), [], 76, ["'out'", "make them smaller"]),
            "more than any memory": (self.declared("memory", S=2**24), [], 71, ["memory.h5", "GiB", "fewer tokens"]),
            "more than 64 bits count": (self.declared("count", B=2**31, S=2**31), [], 71, ["count.h5", "fewer tokens"]),
        }
        self.check(cases)

    def test_options(self):
        good = self.changed("good")
        self.check({
            "f16": (good, ["--dtype=f16"], 64, ["dtype f16", "--dtype", "f32"]),
            "cuda": (good, ["--device=cuda"], 64, ["device cuda", "--device", "cpu"]),
            "placement": (good, ["--placement=foo"], 64, ["foo", "contiguous, zigzag or striped"]),
            "transport": (good, ["--transport=foo"], 64, ["foo", "shared", "in-process"]),
            "isa": (good, ["--isa=foo"], 64, ["foo", "plain"]),
            "option": (good, ["--foo=1"], 64, ["--foo"]),
            "repeat": (good, ["--repeat=0"], 64, ["--repeat"]),
            "repeat without end": (good, ["--repeat=99999999999999999999"], 64, ["--repeat", "1 to 1000000"]),
            "repeat often": (good, ["--repeat=often"], 64, ["--repeat", "1 to 1000000"]),
            "f64": (good, ["--dtype=f64"], 64, ["f64", "--dtype", "f32"]),
            "no dtype": (good, ["--dtype="], 64, ["--dtype=", "write one"]),
            "capitals": (good, ["--placement=Zigzag"], 64, ["Zigzag", "contiguous, zigzag or striped"]),
            "two placements": (good, ["--placement=zigzag", "--placement=striped"], 64, ["--placement", "1"]),
            "threads below 0": (good, ["--threads=-1"], 64, ["--threads", "0 to"]),
            "many threads": (good, ["--threads=99999"], 64, ["--threads", "0 to 65536"]),
            "nan seconds": (good, ["--timeout-seconds=nan"], 64, ["--timeout-seconds", "0.001 to"]),
            "no seconds": (good, ["--timeout-seconds=0"], 64, ["--timeout-seconds", "0.001 to"]),
            "infinite seconds": (good, ["--timeout-seconds=inf"], 64, ["--timeout-seconds", "0.001 to"]),
            "three files": (good, ["third.h5"], 64, ["third.h5"]),
            "before the data": (self.directory / "none.h5", ["--placement=foo"], 64, ["foo"]),
        })

    def test_transports_that_do_not_fit(self):
        good, out = self.changed("fits"), self.directory / "out.h5"
        threads = ["attention", good, out, "--in-process-ranks=2"]
        for name, result in {
                "mpi": annulus.run([*threads, "--transport=mpi"]),
                "mpi, one rank without a launcher": annulus.run(["attention", good, out, "--transport=mpi"]),
        }.items():
            with self.subTest(name):
                self.assertFails(result, 64, "mpi", "run.sh")
        for ranks in (2, 3):
            with self.subTest("in-process", ranks=ranks):
                result = annulus.run(["attention", good, out, "--transport=in-process"], ranks)
                self.assertFails(result, 64, "in-process", "auto, shared, nodes or mpi")
            with self.subTest("threads of several processes", ranks=ranks):
                self.assertFails(annulus.run(threads, ranks), 64, "in_process_ranks", f"{ranks} processes")
        self.assertFalse(out.exists())

    def test_output(self):
        good, pipe, link = self.changed("well"), self.directory / "out pipe", self.directory / "link"
        os.mkfifo(pipe)
        link.symlink_to(".")
        self.check({
            "no directory": (good, [], 73, ["none/out.h5", "check the directory"], self.directory / "none" / "out.h5"),
            "a directory": (good, [], 73, [self.directory.name], self.directory),
            "in a file": (good, [], 73, ["well.h5/out.h5"], good / "out.h5"),
            "a pipe": (good, [], 73, ["pipe", "a device or pipe"], pipe),  # it must not be replaced, nor a device
            "no name": (good, [], 73, ["the output is empty"], ""),
            "a name of 300 letters": (good, [], 73, ["File name too long"], self.directory / ("x" * 300)),
            "a link to a directory": (good, [], 73, ["link", "is a directory"], link),
            "said before the input is read": (self.directory / "none.h5", [], 73, ["check the directory"],
                                              self.directory / "none" / "out.h5"),
        })
        self.assertTrue(pipe.is_fifo())

    def test_output_is_replaced_whole(self):
        good, out = self.changed("fine"), self.directory / "replaced.h5"
        out.write_text("of an earlier run")
        self.assertFails(annulus.run(["attention", self.directory / "none.h5", out]), 65)
        self.assertEqual(out.read_text(), "of an earlier run")
        self.assertDone(annulus.run(["attention", good, out]))
        with h5py.File(out, "r") as file:
            self.assertEqual(sorted(file), sorted(RESULTS))
        self.assertEqual(list(self.directory.glob("*.tmp*")), [])


if __name__ == "__main__":
    annulus.main()
