#!/usr/bin/python3
"""Measures how far our numbers are from exact ones, and writes that into docs/NUMERICS.md and docs/error_by_ring_size.svg:

    docs/error_tables.py build/dev       the build whose tests are to be run (half a minute on two cores)

The tests print each measured error beside its limit where ANNULUS_PRINT_ERRORS is set; this only sorts what they print.
"""
import collections
import math
import os
import pathlib
import re
import subprocess
import sys

DOCS = pathlib.Path(__file__).resolve().parent
PLACEMENTS = ("contiguous", "zigzag", "striped")
TENSORS = ("out", "lse", "dq", "dk", "dv")
KINDS = {  # of parameters: part of the name -> what the table calls it
    "embedding": "embedding", "q_proj": "q, k, v projections", "k_proj": "q, k, v projections",
    "v_proj": "q, k, v projections", "qkv_proj": "q, k, v projections", "out_proj": "output projection",
    "norm": "norms", "gate": "MLP", "up": "MLP", "down": "MLP", "head": "head"}


def printed_by(build, program, tests):
    """The lines of the chosen tests of one test program, each with the test it belongs to."""
    environment = dict(os.environ, ANNULUS_PRINT_ERRORS="1", OMP_WAIT_POLICY="passive")
    command = [f"{build}/tests/{program}", f"--gtest_filter={tests}"]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"error_tables.py: {' '.join(command)} failed; its numbers are not worth a table")
    test = ""
    for line in result.stdout.splitlines():
        if line.startswith("[ RUN      ] "):
            test = line[13:]
        yield test, line


# ---- what is measured


def measure_ring(build):
    """{mask: {tensor: {placement: [error on 1, 2, ..., 8 ranks]}}}, relative, Euclidean"""
    found = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(list)))
    for _, line in printed_by(build, "model_test", "RingSize.*"):
        if line.startswith("ring "):
            mask, tensor, placement, _, error = line.split()[1:6]
            found[mask][tensor][placement].append(float(error))
    return found


def kind_of(parameter):
    return next((kind for part, kind in KINDS.items() if part in parameter), parameter)


def measure_law_one(build):
    """{(batch, dp, cp, placement): {kind: (error, limit)}}, relative, each kind's parameters taken together, where batch is
    "" for one stream or "packed", and in bf16 "bf16" or "bf16 packed"; and {dtype: (worst share of its limit that any
    tensor reached, with its name, and of how many)}."""
    squares = collections.defaultdict(lambda: collections.defaultdict(lambda: [0.0, 0.0, 0.0]))
    worst = {"f32": (0.0, "", 0), "bf16": (0.0, "", 0)}
    tests = "Trainer.GradientsOfAnyLayout*:Bf16Training.GradientsOfAnyLayout*:PackedTraining.EqualsItsDocuments*"
    pattern = re.compile(r"law one, (.*?) ?dp (\d+) cp (\d+) (\w+): (\S+) (\S+) limit (\S+) of (\S+)")
    for _, line in printed_by(build, "runtime_test", tests):
        match = pattern.fullmatch(line)
        if not match:
            continue
        batch, dp, cp, placement, name = match.groups()[:5]
        error, limit, norm = (float(x) for x in match.groups()[5:])
        sums = squares[batch, int(dp), int(cp), placement][kind_of(name)]
        for i, x in enumerate((error, limit, norm)):
            sums[i] += x * x
        if name != "loss" and (dp, cp) != ("1", "1"):
            dtype = "bf16" if batch.startswith("bf16") else "f32"
            share, which, compared = worst[dtype]
            here = (error / limit, f"`{name}`, {batch} dp {dp} cp {cp} {placement}")
            worst[dtype] = (*max((share, which), here), compared + 1)
    table = {layout: {kind: (math.sqrt(e / n), math.sqrt(l / n)) for kind, (e, l, n) in kinds.items()}
             for layout, kinds in squares.items()}
    return table, worst


def measure_shares(build):
    """{(row, column): worst error as a share of its limit} of every kernel"""
    shares = collections.defaultdict(float)

    def take(row, column, error, limit):
        if float(limit) > 0:
            shares[row, column] = max(shares[row, column], float(error) / float(limit))

    pattern = re.compile(r"error (.*?)(?: (out|lse|dq|dk|dv))? (\S+) limit (\S+)")
    for test, line in printed_by(build, "kernels_test", "Isa/*"):
        match = pattern.fullmatch(line)
        if not match:
            continue
        what, tensor, error, limit = match.groups()
        isa = re.search(r"/(plain|avx2|avx512_bf16|avx512)", test)[1]
        if "Adversarial" in test:
            take(f"edges of f32, {isa}" if tensor else "edges of f32", tensor or "others", error, limit)
        elif tensor:
            take(isa, tensor, error, limit)
        else:
            take("others", op_of(what), error, limit)
    for test, line in printed_by(build, "model_test", "RingAttention.*"):
        match = pattern.fullmatch(line)
        if match and match[2]:
            edges = "EdgesOfF32" in test
            take("edges of f32, ring" if edges else "ring of 1 to 5 ranks", match[2], match[3], match[4])
    return shares


def op_of(what):
    """"rms_norm C 17 dx" -> "rms_norm dx": the name of the op and of its result, without sizes."""
    return " ".join(word for word in what.split() if not word.isdigit() and word != "C")


# ---- how it is shown


def rows_of(*rows):
    return ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def ring_table(ring):
    lines = []
    for mask, tensors in ring.items():
        lines += rows_of([f"{mask}: relative error x 1e-7", *(f"P = {p}" for p in range(1, 9)), "limit"], ["---"] * 10)
        for tensor in TENSORS:
            for placement in PLACEMENTS:
                errors = tensors[tensor][placement]
                lines += rows_of([f"{tensor}, {placement}", *(f"{1e7 * e:.2f}" for e in errors),
                                  f"{1.5e7 * errors[0]:.2f}"])
        lines.append("")
    return lines


def law_one_table(law_one):
    lines = []
    kinds = ["loss", *dict.fromkeys(KINDS.values())]
    for batch, title, scale in (("", "one stream", 7), ("packed", "packed documents", 7),
                                ("bf16", "one stream in bf16", 3), ("bf16 packed", "packed documents in bf16", 3)):
        layouts = [layout for layout in law_one if layout[0] == batch]
        lines += rows_of([f"{title}: relative error / limit, x 1e-{scale}", *kinds], ["---"] * (len(kinds) + 1))
        for layout in sorted(layouts, key=lambda x: (x[1] > 1, PLACEMENTS.index(x[3]), x[1], x[2])):
            cells = [law_one[layout].get(kind) for kind in kinds]
            lines += rows_of([f"dp {layout[1]} cp {layout[2]} {layout[3]}",
                              *(f"{10**scale * c[0]:.2f} / {10**scale * c[1]:.2f}" if c else "" for c in cells)])
        lines.append("")
    return lines


def share_tables(shares):
    def cell(row, column):
        return f"{shares[row, column]:.2f}" if (row, column) in shares else ""

    isas = [isa for isa in ("plain", "avx2", "avx512", "avx512_bf16") if (isa, "out") in shares]
    rows = [*isas, "ring of 1 to 5 ranks", *(f"edges of f32, {isa}" for isa in isas), "edges of f32, ring"]
    lines = rows_of(["attention", *TENSORS], ["---"] * 6)
    lines += rows_of(*([row, *(cell(row, tensor) for tensor in TENSORS)] for row in rows))
    lines += ["", *rows_of(["others, worst of the instruction sets", "share"], ["---"] * 2)]
    lines += rows_of(*([op, f"{share:.2f}"] for (row, op), share in shares.items() if row == "others"))
    lines += rows_of(["all of them at the edges of f32", cell("edges of f32", "others")])
    return lines


def law_one_curves(law_one):
    """Like those of attention, for the first kinds of parameters."""
    curves = collections.defaultdict(lambda: collections.defaultdict(list))
    for kind in dict.fromkeys(KINDS.values()):
        for placement in PLACEMENTS:
            for cp in range(1, 9):
                layout = ("", 1, cp, placement if cp > 1 else "zigzag")
                curves[kind][placement].append(law_one[layout][kind][0])
    return curves


COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f7f7f")  # told apart by most eyes
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 400, 46, 118, 60, 64  # of a panel and its margins


class Panel:
    """Curves of error against ring size: a colour a tensor, a marker a placement, dashed the limit."""

    def __init__(self, x, title, curves):
        self.x, self.curves = x, curves
        self.top = 1.05 * max(1.5 * lines["contiguous"][0] for lines in curves.values())
        self.parts = [f'<text class="title" x="{x + LEFT}" y="40">{title}</text>']

    def at(self, ranks, error):
        return (self.x + LEFT + (ranks - 1) / 7 * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - error / self.top * (HEIGHT - BOTTOM - TOP))

    def axes(self):
        for ranks in range(1, 9):
            x, y = self.at(ranks, 0)
            self.parts.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{ranks}</text>')
        x, y = self.at(4.5, 0)
        self.parts.append(f'<text x="{x:.1f}" y="{y + 38:.1f}" text-anchor="middle">ranks in the ring</text>')
        step = next(s for s in (0.2e-7, 0.5e-7, 1e-7, 2e-7, 5e-7, 1e-6) if self.top / s < 9)
        for i in range(int(self.top / step) + 1):
            (x0, y), (x1, _) = self.at(1, i * step), self.at(8, i * step)
            self.parts.append(f'<line class="grid" x1="{x0:.1f}" y1="{y:.1f}" x2="{x1:.1f}" y2="{y:.1f}"/>')
            label = f"{1e7 * i * step:.1f}".rstrip("0").rstrip(".")
            self.parts.append(f'<text x="{x0 - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
        self.parts.append(f'<text x="{self.x + 8}" y="{TOP - 4}">x 10⁻⁷</text>')

    def marker(self, placement, x, y, colour):
        if placement == "contiguous":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
        if placement == "zigzag":
            return f'<rect x="{x - 2.6:.1f}" y="{y - 2.6:.1f}" width="5.2" height="5.2" fill="{colour}"/>'
        return f'<path d="M{x:.1f} {y - 3.6:.1f}l3.4 6h-6.8z" fill="{colour}"/>'

    def draw(self):
        self.axes()
        labels = []
        for (name, lines), colour in zip(self.curves.items(), COLOURS):
            (x0, y), (x1, _) = self.at(1, 1.5 * lines["contiguous"][0]), self.at(8, 0)
            self.parts.append(f'<path class="limit" stroke="{colour}" d="M{x0:.1f} {y:.1f}H{x1:.1f}"/>')
            for placement in PLACEMENTS:
                points = [self.at(ranks, error) for ranks, error in enumerate(lines[placement], 1)]
                path = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
                self.parts.append(f'<path class="curve" stroke="{colour}" d="M{path}"/>')
                self.parts += [self.marker(placement, px, py, colour) for px, py in points]
            labels.append([self.at(8, sum(lines[p][-1] for p in PLACEMENTS) / 3)[1], name, colour])
        labels.sort()
        for above, below in zip(labels, labels[1:]):
            below[0] = max(below[0], above[0] + 14)
        overhang = max(0, labels[-1][0] - (HEIGHT - BOTTOM))
        for y, name, colour in labels:
            x = self.at(8, 0)[0] + 10
            self.parts.append(f'<text x="{x:.1f}" y="{y - overhang + 4:.1f}" style="fill:{colour}">{name}</text>')
        return self.parts


def picture(ring, law_one):
    panels = [Panel(0, "Attention: causal, 1021 tokens, 4 heads of 64", ring["causal"]),
              Panel(WIDTH, "Gradients of a small model, by kind of parameter", law_one_curves(law_one))]
    key = []
    for i, placement in enumerate(PLACEMENTS):
        key.append(panels[0].marker(placement, LEFT + 6 + 100 * i, HEIGHT - 10, "#7f7f7f"))
        key.append(f'<text x="{LEFT + 16 + 100 * i}" y="{HEIGHT - 6}">{placement}</text>')
    key.append(f'<path class="limit" stroke="#7f7f7f" d="M{LEFT + 300} {HEIGHT - 10}h26"/>')
    key.append(f'<text x="{LEFT + 332}" y="{HEIGHT - 6}">limit: 1.5 times the error of one rank</text>')
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" width="{2 * WIDTH}" role="img">',
        "<title>Relative error against ring size: flat</title>",
        "<style>text{font:12px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#8885}",
        ".curve{fill:none;stroke-width:1.2}.limit{fill:none;stroke-dasharray:5 4}",
        "@media(prefers-color-scheme:dark){text{fill:#ccc}}</style>",
        f'<text class="title" x="{LEFT}" y="18">Distance from the fp64 result over its norm, on 1 to 8 ranks</text>',
        *panels[0].draw(), *panels[1].draw(), *key, "</svg>"]) + "\n"


def replace_section(text, name, lines):
    begin, end = f"<!-- {name}: written by docs/error_tables.py -->\n", f"<!-- end of {name} -->\n"
    before, rest = text.split(begin)
    return before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    build = sys.argv[1]
    ring, (law_one, worst), shares = measure_ring(build), measure_law_one(build), measure_shares(build)
    page = DOCS / "NUMERICS.md"
    text = page.read_text()
    text = replace_section(text, "ring", ring_table(ring))
    text = replace_section(text, "law one", [
        *law_one_table(law_one),
        *(f"In {dtype}, over {compared} comparisons of gradients, the worst tensor is at {share:.2f} of its limit ({which}).  "
          for dtype, (share, which, compared) in worst.items())])
    text = replace_section(text, "shares", share_tables(shares))
    page.write_text(text)
    (DOCS / "error_by_ring_size.svg").write_text(picture(ring, law_one))


if __name__ == "__main__":
    main()
