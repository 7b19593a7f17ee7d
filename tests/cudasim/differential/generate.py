"""Writes random straight-line programs, the same text for nvcc and for g++: see differential_test.cpp.

generate.py --seed=1 --programs=120 --statements=36 OUTPUT.inc
"""
import argparse
import pathlib
import random
import re

TYPES = {"i8": "int8_t", "u8": "uint8_t", "i16": "int16_t", "u16": "uint16_t", "i32": "int32_t", "u32": "uint32_t",
         "i64": "int64_t", "u64": "uint64_t", "f32": "float", "f64": "double", "f16": "Half", "b16": "Bfloat",
         "p": "bool"}
INTEGERS = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"]

# What a letter in an operation (operations.txt) stands for: everywhere the same, chosen anew each time the operation is used.
LETTERS = {"T": INTEGERS, "S": INTEGERS, "W": ["i32", "u32"], "U": ["u32", "u64"], "F": ["f32", "f64"],
           "H": ["f16", "b16"], "X": [name for name in TYPES if name != "p"],
           "R": ["kNearest", "kZero", "kUp", "kDown"], "C": ["==", "!=", "<", "<=", ">", ">="],
           "K": [str(table) for table in range(256)]}

OPERATIONS = [line.strip() for line in pathlib.Path(__file__).with_name("operations.txt").read_text().splitlines()
              if not line.startswith("#")]

SINGLES = [0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x00000001, 0x807fffff, 0x7f7fffff,
           0x3effffff, 0x40490fdb, 0x4f000000, 0x4b7fffff, 0x33800000]
DOUBLES = [0, 1 << 63, 0x3ff0000000000000, 0x7ff0000000000000, 1, 0x000fffffffffffff, 0x7fefffffffffffff,
           0x41dfffffffc00000, 0x43e0000000000000, 0x3ca0000000000000, 0xbfe0000000000000]
SMALLS = [0x0000, 0x8000, 0x3c00, 0xbc00, 0x7c00, 0x0001, 0x7bff, 0x3f80, 0x7f80, 0x7f7f, 0x4248, 0xff80]


class Program:
    def __init__(self, number, seed, statements):
        self.number, self.random = number, random.Random(f"{seed}/{number}")
        self.lines, self.names, self.used, self.count = [], {name: [] for name in TYPES}, set(), 0
        self.taken = set()  # by the statement that is being made: operands differ where they can
        for _ in range(8):
            self.read_input(self.random.choice([name for name in TYPES if name != "p"]))
        while len(self.lines) < statements + 8:
            self.statement()

    def declare(self, kind, text):
        """Adds the line in which "NAME" is the new variable."""
        name = f"v{self.count}"
        self.count += 1
        self.lines.append(text.replace("NAME", f"{TYPES[kind]} {name}", 1).replace("NAME", name))
        self.names[kind].append(name)
        return name

    def fresh(self, kind, expression):
        return self.declare(kind, f"const NAME = {expression};")

    def read_input(self, kind):
        if kind == "p":
            return self.fresh(kind, self.filled("{u64} < {u64}"))
        if kind in INTEGERS:
            return self.fresh(kind, f"static_cast<{TYPES[kind]}>(in.whole[{self.random.randrange(8)}])")
        member, count = {"f32": ("single", 8), "f64": ("real", 4), "f16": ("half", 4), "b16": ("bfloat", 4)}[kind]
        return self.fresh(kind, f"in.{member}[{self.random.randrange(count)}]")

    def literal(self, kind):
        pick = self.random.choice
        if kind == "f32":
            return f"float_of({pick(SINGLES):#x}u)"
        if kind == "f64":
            return f"double_of({pick(DOUBLES):#x}ull)"
        if kind in ("f16", "b16"):
            return f"{TYPES[kind]}{{{pick(SMALLS):#x}}}"
        bits = int(kind[1:])
        value = pick([0, 1, 2, 3, 7, 10, 255, (1 << bits) - 1, 1 << (bits - 1), (1 << (bits - 1)) - 1,
                      self.random.getrandbits(bits)]) % (1 << bits)
        return f"static_cast<{TYPES[kind]}>({value:#x}ull)"

    def value(self, kind):
        if kind == "n":
            if self.random.random() < 0.5:
                return f"{self.random.choice([0, 1, 3, 5, 8, 15, 16, 17, 31, 32, 33, 47, 63, 64, 255])}u"
            kind = "u32"
        if kind != "p" and self.random.random() < 0.12:
            return self.literal(kind)
        known = self.names[kind]
        fresh = [name for name in known if name not in self.taken]
        if not fresh or self.random.random() < 0.1:
            fresh.append(self.read_input(kind))
        # The latest are the likeliest, so that values go through many operations.
        name = fresh[max(self.random.randrange(len(fresh)) for _ in range(2))]
        self.used.add(name)
        self.taken.add(name)
        return name

    def filled(self, text, letters=None):
        letters = letters or {}
        text = re.sub(r"\[(\w)\]", lambda found: TYPES.get(letters[found[1]], letters[found[1]]), text)
        return re.sub(r"\{(\w+)\}", lambda found: self.value(letters.get(found[1], found[1])), text)

    def statement(self):
        self.taken = set()
        if self.random.random() < 0.06:
            return self.read_vector()
        result, expression = self.random.choice(OPERATIONS).split(": ", 1)
        letters = {letter: self.random.choice(choices) for letter, choices in LETTERS.items()}
        kind = letters.get(result, result)
        expression = self.filled(expression, letters)
        if self.random.random() < 0.08:  # lanes go apart
            self.declare(kind, f"NAME = {self.value(kind)}; if ({self.filled('{p}')}) NAME = {expression};")
        else:
            self.fresh(kind, expression)

    def read_vector(self):
        kind = self.random.choice(["i8", "u8", "i16", "u16", "i32", "u32", "f32", "i64"])
        shape, parts = self.random.choice([("Pair", "xy"), ("Four", "xyzw")] if kind != "i64" else [("Pair", "xy")])
        vector = f"vector{self.count}"
        self.lines.append(f"const auto {vector} = load<{shape}<{TYPES[kind]}>>(in.whole + {self.random.randrange(0, 8, 2)});")
        for part in parts:
            self.fresh(kind, f"{vector}.{part}")

    def outputs(self, everything):
        """Statements that store what no other statement took (or everything), and how many cells they fill."""
        lines, cell = [], 0
        for kind, names in self.names.items():
            left = [name for name in names if everything or name not in self.used]
            if kind in ("u8", "i16", "u32", "i64") and len(left) >= 2:
                cell += cell % 2
                lines.append(f"put(out, {cell}, Pair<{TYPES[kind]}>{{{left[0]}, {left[1]}}});")
                cell, left = cell + 2, left[2:]
            if kind in ("i8", "u16", "i32") and len(left) >= 4:
                cell += cell % 2
                lines.append(f"put(out, {cell}, Four<{TYPES[kind]}>{{{', '.join(left[:4])}}});")
                cell, left = cell + 2, left[4:]
            for name in left:
                floating = kind in ("f32", "f64", "f16", "b16")
                lines.append(f"put(out, {cell}, {f'bits_of({name})' if floating else name});")
                cell += 1
        return lines, cell


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--programs", type=int, default=120)
    parser.add_argument("--statements", type=int, default=36)
    parser.add_argument("--only", type=int, help="this program alone, and all of its variables stored")
    arguments = parser.parse_args()
    numbers = range(arguments.programs) if arguments.only is None else [arguments.only]
    text, cells = [], 2
    for number in numbers:
        program = Program(arguments.seed, number, arguments.statements)
        stores, used = program.outputs(arguments.only is not None)
        cells = max(cells, used + used % 2)
        body = "\n".join("  " + line for line in program.lines + stores)
        text.append(f"DIFFERENTIAL void program_{number}(const Inputs& in, uint64_t* out) {{\n{body}\n}}\n")
    with open(arguments.output, "w") as file:
        file.write("namespace differential {\n" + "\n".join(text))
        file.write(f"constexpr int kCells = {cells};\n}}\n#define ALL_PROGRAMS(DO) ")
        file.write(" ".join(f"DO({number})" for number in numbers) + "\n")


if __name__ == "__main__":
    main()
