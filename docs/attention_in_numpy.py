#!/usr/bin/python3
"""Checks `annulus attention` with nothing but numpy and h5py, in float64:

    docs/attention_in_numpy.py make in.h5              random tensors: 2 sequences of 301 tokens, a document border inside
    launch/run.sh -np 3 -- attention in.h5 out.h5      ring attention, forward and backward
    docs/attention_in_numpy.py compare in.h5 out.h5    how far each result is from the formulas below
"""
import sys

import h5py
import numpy as np

ROUNDING = 2.0**-24  # of one float32 operation


def make(path):
    numbers = np.random.default_rng(1)
    tensors = {"q": (2, 301, 4, 64), "k": (2, 301, 2, 64), "v": (2, 301, 2, 64), "dout": (2, 301, 4, 64)}
    with h5py.File(path, "w") as file:
        for name, shape in tensors.items():
            file[name] = numbers.standard_normal(shape, dtype=np.float32)
        far = 2**62  # two documents, 0..199 and 200..300, each causal: sees j in the same document with 0 <= i - j
        file["mask_slices"] = np.array([[0, 200, 0, 200, 0, far], [200, 301, 200, 301, 0, far]])
        file.attrs["softmax_scale"] = 0.125


def attention(file):
    """out = softmax(scale q k^T) v over the visible keys, and the gradients of sum(out * dout)."""
    q, k, v, dout = (np.moveaxis(file[name][:].astype(np.float64), 2, 1) for name in ("q", "k", "v", "dout"))
    scale, (B, K, Sk, D), group = file.attrs["softmax_scale"], k.shape, q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    i, j = np.arange(q.shape[2])[:, None], np.arange(Sk)[None, :]
    visible = np.zeros((q.shape[2], Sk), bool)
    for q0, q1, k0, k1, lo, hi in file["mask_slices"]:
        visible |= (q0 <= i) & (i < q1) & (k0 <= j) & (j < k1) & (lo <= i - j) & (i - j <= hi)

    scores = np.where(visible, scale * q @ k.swapaxes(-1, -2), -np.inf)
    lse = np.logaddexp.reduce(scores, axis=-1)
    P = np.exp(scores - lse[..., None])
    out = P @ v
    dS = scale * P * (dout @ v.swapaxes(-1, -2) - (dout * out).sum(-1, keepdims=True))
    dk, dv = dS.swapaxes(-1, -2) @ q, P.swapaxes(-1, -2) @ dout
    dk, dv = (x.reshape(B, K, group, Sk, -1).sum(axis=2) for x in (dk, dv))
    tokens_first = {"out": out, "dq": dS @ k, "dk": dk, "dv": dv}
    return {"lse": lse, **{name: np.moveaxis(x, 1, 2) for name, x in tokens_first.items()}}


def compare(problem, results):
    with h5py.File(problem) as inputs, h5py.File(results) as got:
        worst = 0
        for name, exact in attention(inputs).items():
            error = np.linalg.norm(got[name][:] - exact) / np.linalg.norm(exact)
            worst = max(worst, error)
            print(f"{name:4} {str(exact.shape):18} relative error {error:.1e} = {error / ROUNDING:.1f} float32 roundings")
    # Independent roundings of n terms grow like sqrt(n): for 300 keys about 17 of them.
    return 0 if worst < 17 * ROUNDING else "too far away"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", path]:
            make(path)
        case ["compare", problem, results]:
            sys.exit(compare(problem, results))
        case _:
            sys.exit(__doc__)
