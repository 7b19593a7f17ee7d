"""Full attention, forward and gradients, written out in numpy, and files of problems for `annulus attention`."""
import math

import h5py
import numpy as np

FAR = 2**62  # no bound, in a mask slice
INPUTS = ("q", "k", "v", "dout")
RESULTS = ("out", "lse", "dq", "dk", "dv")


# ---- the reference: rows of a whole matrix of scores, and sums as plain loops, in float64 or float32


def visible_pairs(slices, S, Sk):
    """Which of the S queries sees which of the Sk keys."""
    i, j = np.arange(S)[:, None], np.arange(Sk)[None, :]
    visible = np.zeros((S, Sk), bool)
    for q0, q1, k0, k1, lo, hi in slices:
        visible |= (q0 <= i) & (i < q1) & (k0 <= j) & (j < k1) & (lo <= i - j) & (i - j <= hi)
    return visible


def summed(terms, dtype):
    """One after another, as a plain loop in `dtype` does; numpy's own sum is more accurate."""
    total = dtype(0)
    for term in terms:
        total = total + term
    return total


def full_attention(problem, dtype):
    """P = softmax(scale q k^T) over the visible keys, out = P v, and for the gradient dout of out:
    dv = P^T dout, dP = dout v^T, dS = P (dP - rowsum(dout out)), dq = scale dS k, dk = scale dS^T q.
    The gradient makes P anew, from lse, the logarithm of the softmax sum, as every flash attention does
    (arXiv:2205.14135); its sums run backwards, since nobody promises that both passes round alike."""
    q, k, v, dout = (np.moveaxis(problem[name], 2, 1).astype(dtype) for name in INPUTS)  # (B, heads, S, D)
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)  # each key/value head serves a group of query heads
    S, D, Sk, Dv, scale = q.shape[2], q.shape[3], k.shape[2], v.shape[3], dtype(problem["scale"])
    visible = visible_pairs(problem["slices"], S, Sk)

    def scores(widths):
        return summed((q[..., :, None, d] * k[..., None, :, d] for d in widths), dtype) * scale

    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(visible, scores(range(D)), -np.inf)
        largest = seen.max(axis=-1, keepdims=True)
        weights = np.where(visible, np.exp(seen - largest), dtype(0))
        totals = summed((weights[..., j] for j in range(Sk)), dtype)[..., None]
        lse = np.where(totals > 0, largest + np.log(totals), -np.inf)
        out = summed((weights[..., j, None] * v[..., None, j, :] for j in range(Sk)), dtype)
        out = np.where(totals > 0, out / totals, dtype(0))
        P = np.where(visible, np.exp(scores(reversed(range(D))) - lse), dtype(0))
    dP = summed((dout[..., :, None, d] * v[..., None, :, d] for d in range(Dv)), dtype)
    delta = summed((dout[..., d] * out[..., d] for d in reversed(range(Dv))), dtype)[..., None]
    dS = P * (dP - delta) * scale
    dq = summed((dS[..., j, None] * k[..., None, j, :] for j in range(Sk)), dtype)
    dk = summed((dS[..., i, :, None] * q[..., i, None, :] for i in range(S)), dtype)
    dv = summed((P[..., i, :, None] * dout[..., i, None, :] for i in range(S)), dtype)
    dk, dv = (summed((x[:, head::group] for head in range(group)), dtype) for x in (dk, dv))
    return {"out": np.moveaxis(out, 1, 2), "lse": lse[..., 0], "dq": np.moveaxis(dq, 1, 2),
            "dk": np.moveaxis(dk, 1, 2), "dv": np.moveaxis(dv, 1, 2)}


def as_bf16(x):
    """float32 rounded to the eight bits of bfloat16, ties to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def bf16_rounding(problem, exact):
    """How far each result may be off because of bfloat16 alone, its inputs taken as they are: the sums of the absolute
    values of all terms times 2^-8, half a unit in the last place, for weights, their gradients and results, and 2.2e-4
    for the quotient of two exponentials of 1.1e-4."""
    half, coarse = 2.0**-8, 2.2e-4
    q, k, v, dout = (np.moveaxis(problem[name], 2, 1).astype(np.float64) for name in INPUTS)
    group, scale = q.shape[1] // k.shape[1], problem["scale"]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    visible = visible_pairs(problem["slices"], q.shape[2], k.shape[2])
    with np.errstate(invalid="ignore"):
        P = np.where(visible, np.exp(scale * q @ np.swapaxes(k, 2, 3) - exact["lse"][..., None]), 0.0)
    out = np.moveaxis(exact["out"], 2, 1)
    off = {"lse": np.full(exact["lse"].shape, coarse)}
    off["out"] = (half + coarse) * P @ np.abs(v)
    off["out"] += half * (np.abs(out) + off["out"])
    delta = (dout * out).sum(-1, keepdims=True)
    dS = (half + coarse) * P * np.abs(dout @ np.swapaxes(v, 2, 3) - delta)
    dS += (1 + half) * P * (np.abs(dout) * off["out"]).sum(-1, keepdims=True)
    off["dq"] = abs(scale) * dS @ np.abs(k)
    off["dk"] = abs(scale) * np.swapaxes(dS, 2, 3) @ np.abs(q)
    off["dv"] = (half + coarse) * np.swapaxes(P, 2, 3) @ np.abs(dout)
    for name in ("dk", "dv"):
        off[name] = sum(off[name][:, head::group] for head in range(group))
    for name in ("dq", "dk", "dv"):
        off[name] += half * (np.abs(np.moveaxis(exact[name], 2, 1)) + off[name])
    return {name: np.nanmax(x, initial=0.0) for name, x in off.items()}


class Reference:
    """What a tensor must be, and how far a result in float32, or from bfloat16, may be off.

    The limit is 4 times the worst error of the plain float32 loops above, plus one rounding of the largest element:
    twice because sums run in another order (tiles, visits, running sums that are scaled anew when a larger score
    comes), and twice because the kernels' exponential and logarithm may be off by another unit in the last place.
    Numbers below 2^-126 are rounded as it is, by 2^-150. A few tokens may by luck need no rounding at all: small problems
    are measured on other numbers of the same shapes as well.
    """

    def __init__(self, problem, dtype="f32"):
        if dtype == "bf16":
            problem = {**problem, **{name: as_bf16(problem[name]) for name in INPUTS}}
        self.exact = full_attention(problem, np.float64)
        draws = [(problem, self.exact)]
        if self.exact["lse"].shape[-1] * problem["k"].shape[1] < 1000:
            others = [other_numbers(problem, seed) for seed in range(15)]
            draws += [(other, full_attention(other, np.float64)) for other in others]
        self.limit = dict.fromkeys(self.exact, 0.0)
        for draw, exact in draws:
            plain = full_attention(draw, np.float32)
            for name in RESULTS:
                finite = np.isfinite(exact[name])
                worst = np.abs(plain[name][finite] - exact[name][finite]).max(initial=0.0)
                rounding = 2.0**-24 * np.abs(exact[name][finite]).max(initial=2.0**-126)
                self.limit[name] = max(self.limit[name], 4 * worst + rounding)
        for name, rounding in (bf16_rounding(problem, self.exact) if dtype == "bf16" else {}).items():
            self.limit[name] += rounding

    def problems_of(self, results):
        found = []
        for name, exact in self.exact.items():
            got, finite = results[name], np.isfinite(exact)
            if got.shape != exact.shape or got.dtype != np.float32:
                found.append(f"{name} is {got.dtype} {got.shape}, expected float32 {exact.shape}")
            elif not np.array_equal(got[~finite], exact[~finite]):
                found.append(f"{name} is {got[~finite]} where nothing is seen")
            else:
                worst = np.abs(got[finite] - exact[finite]).max(initial=0.0)
                if not worst <= self.limit[name]:  # also where it is NaN
                    found.append(f"{name} is off by {worst:.3g}, allowed are {self.limit[name]:.3g}")
        return found


# ---- problems


def random_problem(seed, B=1, S=40, Sk=None, H=2, K=1, D=8, Dv=None, slices=None, scale=None):
    numbers = np.random.default_rng(seed)
    Sk, Dv = Sk or S, Dv or D
    shapes = {"q": (B, S, H, D), "k": (B, Sk, K, D), "v": (B, Sk, K, Dv), "dout": (B, S, H, Dv)}
    problem = {name: numbers.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    problem["file"] = {"mask_slices": slices, "softmax_scale": scale}
    problem["slices"] = [(0, S, 0, Sk, 0, FAR)] if slices is None else slices
    problem["scale"] = 1 / math.sqrt(D) if scale is None else scale
    return problem


def scaled(problem, **factors):
    """Some tensors times a number."""
    tensors = {name: (problem[name] * factor).astype(np.float32) for name, factor in factors.items()}
    return {**problem, **tensors, "factors": factors}


def other_numbers(problem, seed):
    numbers = np.random.default_rng([11, seed])
    factors = problem.get("factors", {})
    tensors = {name: (numbers.standard_normal(problem[name].shape) * factors.get(name, 1)).astype(np.float32)
               for name in INPUTS}
    return {**problem, **tensors}


def write_problem(path, problem):
    with h5py.File(path, "w") as file:
        for name in INPUTS:
            file[name] = problem[name]
        if problem["file"]["mask_slices"] is not None:
            file["mask_slices"] = np.array(problem["file"]["mask_slices"], np.int64).reshape(-1, 6)
        if problem["file"]["softmax_scale"] is not None:
            file.attrs["softmax_scale"] = problem["file"]["softmax_scale"]
    return path
