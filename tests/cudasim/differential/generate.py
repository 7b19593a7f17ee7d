"""Writes random straight-line programs, the same text for nvcc and for g++: see differential_test.cpp.

generate.py --seed=1 --programs=120 --statements=36 OUTPUT.inc
"""
import argparse
import random
import re

TYPES = {"i8": "int8_t", "u8": "uint8_t", "i16": "int16_t", "u16": "uint16_t", "i32": "int32_t", "u32": "uint32_t",
         "i64": "int64_t", "u64": "uint64_t", "f32": "float", "f64": "double", "f16": "Half", "b16": "Bfloat",
         "p": "bool"}
INTEGERS = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"]

# What a letter in an operation stands for: everywhere the same, chosen anew each time the operation is used.
LETTERS = {"T": INTEGERS, "S": INTEGERS, "W": ["i32", "u32"], "U": ["u32", "u64"], "F": ["f32", "f64"],
           "H": ["f16", "b16"], "X": [name for name in TYPES if name != "p"],
           "R": ["kNearest", "kZero", "kUp", "kDown"], "C": ["==", "!=", "<", "<=", ">", ">="],
           "K": [str(table) for table in range(256)]}

# result: expression. {T} is a value of type T, [T] the C++ name of T or what else the letter stands for, {n} a small
# number such as a distance to shift by.
OPERATIONS = """
T: add({T}, {T})
T: subtract({T}, {T})
T: multiply({T}, {T})
T: add(multiply({T}, {T}), {T})
T: negate({T})
T: divide({T}, {T})
T: remainder({T}, {T})
T: absolute({T})
T: least({T}, {T})
T: greatest({T}, {T})
T: distance({T}, {T})
T: high_part({T}, {T})
T: both({T}, {T})
T: either({T}, {T})
T: differs({T}, {T})
T: inverted({T})
T: mixed({T}, {T}, {T})
T: shift_left({T}, {n})
T: shift_right({T}, {n})
T: shift_left_far({T}, {n})
T: shift_right_far({T}, {n})
T: rotate({T}, {n})
T: field({T}, {n}, {n})
T: sign_extended({T}, {n})
T: static_cast<[T]>({S})
T: static_cast<[T]>({S})
i64: int64_t{{i32}} * {i32}
u64: uint64_t{{u32}} * {u32}
i64: add(int64_t{{i32}} * {i32}, {i64})
i32: {i16} * {i16}
i8: clamped<int8_t>({i32})
u8: clamped<uint8_t>({u64})
i16: clamped<int16_t>({i64})
u16: clamped<uint16_t>({u32})
i32: clamped<int32_t>({i64})
u64: sum_of_128({u64}, {u64}, {u64}, {u64})
u64: difference_of_128({u64}, {u64}, {u64}, {u64})
u64: product_of_128({u64}, {u64}, {u64})
u64: shifted_128({u64}, {u64}, {n})
p: {T} [C] {T}
p: {F} [C] {F}
p: {p} && {p}
p: {p} || {p}
p: {p} != {p}
p: !{p}
p: {F} != {F} || {F} < {F}
p: negative({F})
p: small_less({H}, {H})
p: small_equal_or_nan({H}, {H})
X: {p} ? {X} : {X}
X: {T} [C] {T} ? {X} : {X}
T: {F} [C] {F} ? {T} : {T}
i32: mul24({i32}, {i32})
u32: mul24({u32}, {u32})
i32: mul24_hi_s32({i32}, {i32})
u32: mul24_hi_u32({u32}, {u32})
i32: mad24_lo_s32({i32}, {i32}, {i32})
u32: mad24_hi_u32({u32}, {u32}, {u32})
W: average({W}, {W})
W: average_up({W}, {W})
u32: sad({W}, {W}, {u32})
i16: sad_s16({i16}, {i16}, {i16})
u64: sad_u64({u64}, {u64}, {u64})
i64: sad_s64({i64}, {i64}, {i64})
i32: count_ones({U})
i32: leading_zeros({U})
i32: first_one({U})
U: reversed({U})
u32: permuted({u32}, {u32}, {u32})
u32: prmt_f4e({u32}, {u32}, {n})
u32: prmt_b4e({u32}, {u32}, {n})
u32: prmt_rc8({u32}, {u32}, {n})
u32: prmt_ecl({u32}, {u32}, {n})
u32: prmt_ecr({u32}, {u32}, {n})
u32: prmt_rc16({u32}, {u32}, {n})
u32: funnel_left({u32}, {u32}, {n})
u32: funnel_right({u32}, {u32}, {n})
u32: funnel_left_clamp({u32}, {u32}, {n})
u32: funnel_right_clamp({u32}, {u32}, {n})
u32: lop3<[K]>({u32}, {u32}, {u32})
W: dot4({W}, {W}, {W})
W: dot2_low({W}, {W}, {W})
W: dot2_high({W}, {W}, {W})
u32: bytes_sum({u32}, {u32})
u32: bytes_least({u32}, {u32})
u32: bytes_average({u32}, {u32})
u32: bytes_above({u32}, {u32})
u32: bytes_distance({u32}, {u32})
u32: bytes_sum_clamped({u32}, {u32})
u32: bfe_u32({u32}, {n}, {n})
i32: bfe_s32({i32}, {n}, {n})
u64: bfe_u64({u64}, {n}, {n})
i64: bfe_s64({i64}, {n}, {n})
u32: bfi_32({u32}, {u32}, {n}, {n})
u64: bfi_64({u64}, {u64}, {n}, {n})
u32: bmsk_clamp({n}, {n})
u32: bmsk_wrap({n}, {n})
u32: bfind_u32({u32})
u32: bfind_s32({i32})
u32: bfind_u64({u64})
u32: bfind_s64({i64})
u32: bfind_shift_u32({u32})
u32: bfind_shift_s64({i64})
i32: mad_hi_s32({i32}, {i32}, {i32})
u32: mad_hi_u32({u32}, {u32}, {u32})
i64: mad_hi_s64({i64}, {i64}, {i64})
u64: mad_hi_u64({u64}, {u64}, {u64})
i32: mad_hi_sat_s32({i32}, {i32}, {i32})
i16: mad_lo_s16({i16}, {i16}, {i16})
i16: mul_hi_s16({i16}, {i16})
u16: mul_hi_u16({u16}, {u16})
i32: mul_wide_s16({i16}, {i16})
u32: mul_wide_u16({u16}, {u16})
i32: mad_wide_s16({i16}, {i16}, {i32})
u32: mad_wide_u16({u16}, {u16}, {u32})
i64: mad_wide_s32({i32}, {i32}, {i64})
u64: mad_wide_u32({u32}, {u32}, {u64})
i32: add_sat_s32({i32}, {i32})
i32: sub_sat_s32({i32}, {i32})
u16: cnot_16({u16})
u32: cnot_32({u32})
u64: cnot_64({u64})
u16: shl_16({u16}, {n})
u64: shl_64({u64}, {n})
i16: shr_s16({i16}, {n})
u32: shr_u32({u32}, {n})
i64: shr_s64({i64}, {n})
u32: set_lt_s32({i32}, {i32})
u32: set_ge_u64({u64}, {u64})
f32: set_gt_f32({f32}, {f32})
u32: set_leu_f64({f64}, {f64})
i32: set_num_f32({f32}, {f32})
u32: set_equ_f32({f32}, {f32})
u32: set_ne_u16({u16}, {u16})
u32: slct_s32({u32}, {u32}, {i32})
u64: slct_f32({u64}, {u64}, {f32})
u16: slct_16({u16}, {u16}, {i32})
i32: saturate_u8_s32({i32})
i32: saturate_s8_s64({i64})
i32: saturate_s8_u32({u32})
u16: saturate_u16_s16({i16})
i16: saturate_s16_u64({u64})
u32: saturate_u32_s64({i64})
i32: saturate_s32_u32({u32})
i32: saturate_s32_s64({i64})
u64: saturate_u64_s64({i64})
i64: saturate_s64_u64({u64})
u64: saturate_u64_s16({i16})
u32: low_sum_carry({u32}, {u32}, {u32})
u64: low_difference_carry({u64}, {u64}, {u64})
u64: mad_carry({u64}, {u64}, {u64})
u32: madc_lo_carry({u32}, {u32}, {u32})
F: {F} + {F}
F: {F} - {F}
F: {F} * {F}
F: {F} / {F}
F: {F} * {F} + {F}
F: -{F}
F: std::fabs({F})
F: std::fma({F}, {F}, {F})
F: std::sqrt({F})
F: std::sqrt(std::fabs({F}))
F: std::floor({F})
F: std::ceil({F})
F: std::trunc({F})
F: std::rint({F})
F: std::round({F})
F: std::scalbn({F}, static_cast<int>({n} % 256) - 128)
F: std::nextafter({F}, {F})
F: with_sign({F}, {F})
F: positive_difference({F}, {F})
F: smaller({F}, {F})
F: larger({F}, {F})
F: static_cast<[F]>({T})
F: static_cast<[F]>({T})
T: in_range<[T]>({F})
f32: static_cast<float>({f64})
f64: static_cast<double>({f32})
u32: bits_of({f32})
u64: bits_of({f64})
f32: float_of({u32})
f64: double_of({u64})
F: Directed<[R]>::add({F}, {F})
F: Directed<[R]>::sub({F}, {F})
F: Directed<[R]>::mul({F}, {F})
F: Directed<[R]>::div({F}, {F})
F: Directed<[R]>::fma({F}, {F}, {F})
F: Directed<[R]>::sqrt({F})
F: Directed<[R]>::rcp({F})
f32: Directed<[R]>::to_float({f64})
f32: Directed<[R]>::to_float({i32})
f32: Directed<[R]>::to_float({u32})
f32: Directed<[R]>::to_float({i64})
f32: Directed<[R]>::to_float({u64})
f64: Directed<[R]>::to_double({i64})
f64: Directed<[R]>::to_double({u64})
i32: Directed<[R]>::to_s32({F})
u32: Directed<[R]>::to_u32({F})
i64: Directed<[R]>::to_s64({F})
u64: Directed<[R]>::to_u64({F})
i32: Directed<[R]>::to_s32({f16})
u64: Directed<[R]>::to_u64({f16})
i16: Directed<[R]>::to_s16({f16})
u32: Directed<[R]>::to_u32({b16})
i64: Directed<[R]>::to_s64({b16})
f16: Directed<[R]>::to_half({f32})
f16: Directed<[R]>::to_half({i32})
f16: Directed<[R]>::to_half({u64})
f16: Directed<[R]>::to_half({i16})
b16: Directed<[R]>::to_bfloat({f32})
b16: Directed<[R]>::to_bfloat({u32})
b16: Directed<[R]>::to_bfloat({i64})
f32: fraction({f32})
f32: add_ftz({f32}, {f32})
f32: sub_ftz_sat({f32}, {f32})
f32: mul_ftz({f32}, {f32})
f32: fma_ftz({f32}, {f32}, {f32})
f32: fma_sat({f32}, {f32}, {f32})
f32: mul_sat({f32}, {f32})
f32: div_ftz({f32}, {f32})
f32: sqrt_ftz({f32})
f32: rcp_ftz({f32})
f32: min_ftz({f32}, {f32})
f32: max_nan({f32}, {f32})
f32: min_nan({f32}, {f32})
f32: neg_ftz({f32})
f32: abs_ftz({f32})
u32: less_ftz({f32}, {f32})
u32: test_finite({f32})
u32: test_normal({f64})
u32: test_subnormal({f32})
u32: test_nan({f64})
i32: whole_ftz({f32})
f32: narrow_ftz({f64})
f32: narrow_sat({f64})
f32: round_sat({f32})
u32: byte_of_float({f32})
i32: signed_byte_of_double({f64})
i16: short_of_float({f32})
u16: short_of_double({f64})
f32: float_of_byte({u32})
f64: double_of_short({i16})
f32: widened({H})
f32: widened({H})
f16: half_of({f64})
b16: bfloat_of({f64})
H: small_add({H}, {H})
H: small_sub({H}, {H})
H: small_mul({H}, {H})
H: small_fma({H}, {H}, {H})
H: small_fma_relu({H}, {H}, {H})
H: small_smaller({H}, {H})
H: small_larger_nan({H}, {H})
H: small_negated({H})
H: small_absolute({H})
H: pair_fma({H}, {H}, {H})
u32: pair_of({H}, {f32}, {f32})
f16: small_add_sat({f16}, {f16})
f16: small_fma_sat({f16}, {f16}, {f16})
f16: small_floor({f16})
f16: small_rint({f16})
""".strip().splitlines()

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
