#!/usr/bin/env python3
"""What the capability table promises: runs in which every supported pair of values occurs, each compared with a
reference, and everything that it refuses."""
import array
import json
import struct

import h5py

import annulus_runner as annulus
from annulus_runner import TinyRun
from attention_reference import FAR, RESULTS, Reference, random_problem, write_problem
from pairwise import Pairwise, pairs_of
from test_documents import documents

RANKS = 3
KV_HEADS = {"mha": 4, "gqa": 2, "mqa": 1}  # of 4 heads


def capabilities():
    return json.loads(annulus.run(["--capabilities-json"]).out)


def instruction_sets():
    """Those of this machine: a value that it lacks is refused, which test_what_is_refused asks for."""
    line = next(line for line in annulus.run(["--version"]).out.splitlines() if line.startswith("instruction sets"))
    return ["auto", *line.split(": ")[1].split(", ")]


def pairwise_of(table, command):
    axes = {axis["name"]: [value["name"] for value in axis["values"] if value[command]] for axis in table["axes"]}
    axes = {name: values for name, values in axes.items() if values}
    axes["isa"] = [isa for isa in axes["isa"] if isa in instruction_sets()]
    conflicts = [((c["axis"], c["value"]), (c["other_axis"], c["other_value"])) for c in table["conflicts"]]
    return Pairwise(axes, conflicts)


class Rows(annulus.TestCase):
    def check_rows(self, command, run_row):
        pairwise = pairwise_of(capabilities(), command)
        rows = pairwise.rows()
        self.assertEqual(set().union(*map(pairs_of, rows)), pairwise.pairs)
        for row, problems in zip(rows, annulus.together([lambda row=row, i=i: run_row(i, row) for i, row in enumerate(rows)])):
            with self.subTest(**row):
                self.assertEqual(problems, [])
        print(f"{command}: {len(pairwise.axes)} axes, {sum(map(len, pairwise.axes.values()))} values, "
              f"{pairwise.num_combinations()} combinations; {len(rows)} runs hold all {len(pairwise.pairs)} pairs")


# ---- annulus attention


def slices_of(mask, S, Sk):
    window, first, cut = max(1, S // 3), max(1, S // 4), max(1, S // 2)
    return {"causal": None,
            "documents": [(0, cut, 0, cut, 0, FAR), (cut, S, cut, S, 0, FAR)] if cut < S else [(0, S, 0, S, 0, FAR)],
            "window": [(0, S, 0, Sk, 0, window - 1)],
            "sinks": [(0, S, 0, first, 0, FAR), (0, S, first, Sk, 0, window - 1)],
            "prefix": [(0, S, 0, first, -FAR, FAR), (0, S, first, Sk, 0, FAR)],
            "full": [(0, S, 0, Sk, -FAR, FAR)],
            "cross": [(0, S, 0, Sk, -FAR, FAR)]}[mask]


class Attention(Rows):
    def test_every_pair_of_values(self):
        self.check_rows("attention", self.run_row)

    def run_row(self, number, row):
        S = {"even": 6 * 2 * RANKS, "odd": 37, "short": RANKS - 1}[row["length"]]
        Sk = S + 5 if row["mask"] == "cross" else S
        problem = random_problem(number, B=2 if row["batch"] == "several" else 1, S=S, Sk=Sk, H=4,
                                 K=KV_HEADS[row["heads"]], D=16, Dv=24, slices=slices_of(row["mask"], S, Sk))
        source, path = (self.directory / f"{number}.{name}.h5" for name in ("in", "out"))
        options = ["attention", write_problem(source, problem), path, "--threads=1",
                   *(f"--{axis}={row[axis]}" for axis in ("placement", "transport", "dtype", "device", "isa"))]
        threads = row["ranks"] == "threads"
        result = annulus.run([*options, *([f"--in-process-ranks={RANKS}"] if threads else [])], 1 if threads else RANKS)
        if result.code != 0:
            return [str(result)]
        with h5py.File(path) as file:
            problems = Reference(problem, row["dtype"]).problems_of({name: file[name][...] for name in RESULTS})
            return problems + ([] if row["transport"] in ("auto", file.attrs["transport"].decode()) else ["another transport"])


# ---- annulus train


def write_megatron(directory, texts):
    ids = [array.array("H", list(text.encode())) for text in texts]
    (directory / "mega.bin").write_bytes(b"".join(document.tobytes() for document in ids))
    sizes = [len(document) for document in ids]
    begins = [2 * sum(sizes[:i]) for i in range(len(sizes))]
    header = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, len(ids), len(ids) + 1)
    (directory / "mega.idx").write_bytes(header + struct.pack(f"<{len(ids)}i", *sizes) +
                                         struct.pack(f"<{len(ids)}q", *begins) +
                                         struct.pack(f"<{len(ids) + 1}q", *range(len(ids) + 1)))


def write_data(directory):
    texts = documents()
    (directory / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (directory / "text.bin").write_bytes(array.array("H", [token for text in texts
                                                           for token in [*text.encode(), 256]]).tobytes())
    write_megatron(directory, texts)


DATA = {"text": "text.txt", "jsonl": "text.jsonl", "tokens": "text.bin", "megatron": "mega.bin"}


COARSE_NET = 1e-5  # of law one


def furthest(run, reference, name):
    """The largest relative distance of two runs in any step: what rounding to bf16 does to one rank. Of two runs in
    bf16 each may be as far from f32, and that on many ranks half as much again (docs/NUMERICS.md)."""
    return max(abs(a[name] - b[name]) / abs(b[name]) for a, b in zip(run.metrics(), reference.metrics(), strict=True))


class Train(Rows):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        annulus.write_text(cls.directory / "sums.txt")
        result = annulus.run(["tokenizer", "train", "sums.txt", "sums.model", "--vocab=280"], cwd=cls.directory)
        assert result.code == 0, result

    def test_every_pair_of_values(self):
        self.check_rows("train", self.run_row)

    def run_row(self, number, row):
        """The row's losses beside those of the same training on one rank, by the plainest path there is."""
        packed = row["mask"] == "documents"
        dp, cp = (1, RANKS) if row["rings"] == "one" else (2, RANKS - 1)
        problem = {
            "train.steps": 4, "model.vocab": 257, "model.heads": 4, "model.kv_heads": KV_HEADS[row["heads"]],
            "model.tie_embeddings": row["embeddings"] == "tied", "data.path": DATA[row["data"]],
            "data.format": row["data"], "data.document_mask": packed, "data.restart_positions": row["positions"] == "restart",
            "data.end_of_document": 256 if packed and row["data"] == "tokens" else -1,
            "data.sequence_length": {"even": 8 * 2 * cp, "odd": 67, "short": cp - 1}[row["length"]],
            "train.schedule": row["schedule"], "train.decay_steps": 2 if row["schedule"] == "wsd" else 0,
            "train.min_learning_rate": 1e-3, "train.dtype": row["dtype"],
            **({"data.tokenizer": "sums.model", "model.vocab": 280} if row["tokenizer"] == "sentencepiece" else {})}
        threads = row["ranks"] == "threads"
        run = TinyRun(self.directory / str(number), {
            **problem, "train.micro_batch": 2 if row["batch"] == "several" else 1, "train.recompute": row["recompute"],
            "train.mlp_tile": 16, **{f"parallel.{axis}": row[axis] for axis in ("placement", "transport", "isa")},
            "parallel.dp": dp, "parallel.cp": cp}, dp * cp, threads)
        plainest = {**problem, "train.micro_batch": 1, "parallel.isa": "plain", "parallel.placement": "contiguous"}
        reference = TinyRun(self.directory / f"{number}.reference", plainest)
        in_f32 = TinyRun(self.directory / f"{number}.f32", {**plainest, "train.dtype": "f32"})
        for made in (run, reference, *([in_f32] if row["dtype"] == "bf16" else [])):
            write_data(made.directory)
            (made.directory / "sums.model").write_bytes((self.directory / "sums.model").read_bytes())
            result = made.train()
            if result.code != 0:
                return [str(result)]
        problems = []
        for name in ("loss", "grad_norm"):
            limit = COARSE_NET if row["dtype"] == "f32" else 2.5 * furthest(reference, in_f32, name)
            for got, expected in zip(run.metrics(), reference.metrics(), strict=True):
                if not abs(got[name] - expected[name]) <= limit * abs(expected[name]):
                    problems.append(f"step {got['step']}: {name} is {got[name]}, expected {expected[name]} to {limit:.1e}")
        return problems


class Values(annulus.TestCase):
    """The references above are runs of annulus: here every value is seen to do something, and none something else."""

    def numbers(self, name, **changes):
        """Losses and gradient norms. (Positions that go on differ from those that restart by rounding alone.)"""
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        run = TinyRun(self.directory / name, {"data.path": "text.jsonl", "model.vocab": 257, "model.heads": 4,
                                              "model.kv_heads": 4, "train.steps": 7, **changes})
        write_data(run.directory)
        self.assertDone(run.train())
        return tuple(line[key] for line in run.metrics() for key in ("loss", "grad_norm"))

    def test_they_differ(self):
        found = {
            "plain": self.numbers("plain"),
            "gqa": self.numbers("gqa", model__kv_heads=2), "mqa": self.numbers("mqa", model__kv_heads=1),
            "causal": self.numbers("causal", data__document_mask=False),
            "go on": self.numbers("go on", data__restart_positions=False),
            "untied": self.numbers("untied", model__tie_embeddings=False),
            "tokens": self.numbers("tokens", data__path="text.bin", data__end_of_document=256),
            "text": self.numbers("text", data__path="text.txt"),
            "linear": self.numbers("linear", train__schedule="linear"),
            "wsd": self.numbers("wsd", train__schedule="wsd", train__decay_steps=3),
            "constant": self.numbers("constant", train__schedule="constant")}
        self.assertEqual(len(set(found.values())), len(found), found)

    def test_the_same_documents_in_another_file(self):
        self.assertEqual(self.numbers("jsonl"), self.numbers("megatron", data__path="mega.bin"))


# ---- what is refused


class Refusals(annulus.TestCase):
    def test_what_is_refused(self):
        table = capabilities()
        source = write_problem(self.directory / "in.h5", random_problem(1))
        run = TinyRun(self.directory / "run", {}, RANKS)
        asked = 0
        for axis in table["axes"]:
            option = next((word for word in axis["option"].replace(",", "").split() if word.startswith("--")), "")
            key = next((word for word in axis["option"].replace(",", "").split()
                        if word.startswith(("parallel.", "train."))), None)
            missing = [v["name"] for v in axis["values"] if not v["train"] and not v["attention"]]
            missing += [v["name"] for v in axis["values"] if axis["name"] == "isa" and v["name"] not in instruction_sets()]
            for value in missing:
                with self.subTest(axis["name"], value=value):
                    self.assertFails(annulus.run(["attention", source, "out.h5", f"{option}={value}"], cwd=self.directory),
                                     64, value)
                    asked += 1
                    word = f"--{key}" if key else option
                    self.assertFails(run.train(f"{word}={value}"), 64, axis["name"], value)
                    asked += 1
        for conflict in table["conflicts"]:
            if not conflict["can_be_asked_for"]:
                continue
            with self.subTest(**conflict):
                if conflict["axis"] == "tokenizer":
                    self.assertEqual(conflict["other_axis"], "data", "this test cannot ask for it")
                    options = ["--data.tokenizer=any.model", f"--data.format={conflict['other_value']}"]
                    self.assertFails(run.train(*options), 64, conflict["why"])
                    asked += 1
                    continue
                self.assertEqual(conflict["other_axis"], "ranks", "this test cannot ask for it")
                threads = conflict["other_value"] == "threads"
                many, options = (1, [f"--in-process-ranks={RANKS}"]) if threads else (RANKS, [])
                option = f"--{conflict['axis']}={conflict['value']}"
                for words in (["attention", source, "out.h5"], run.arguments()):
                    where = self.directory if words[0] == "attention" else run.directory
                    self.assertFails(annulus.run([*words, option, *options], many, cwd=where), 64, conflict["why"])
                    asked += 1
        self.assertFalse(run.path.exists())
        print(f"refused by name: {asked}")


if __name__ == "__main__":
    annulus.main()
