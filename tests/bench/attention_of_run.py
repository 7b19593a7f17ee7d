#!/usr/bin/env python3
"""Time, rate and memory of the step that a run recorded (train.trace_step), and of the attention in it.

usage: attention_of_run.py runs/NAME

The work is counted as everywhere: 4 flops for each (query, key) pair that sees each other, head and element of a head's
width, 2.5 times that in backward. The peak is what rank 0 measured at start, of all cores in use. Time is that of the visits,
without waits; shares are of the slowest rank.
"""
import json
import pathlib
import sys
import tomllib


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    run = pathlib.Path(sys.argv[1])
    config = tomllib.loads((run / "config.toml").read_text())
    machine, trace = (json.loads((run / name).read_text()) for name in ("machine.json", "trace.json"))
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (step,) = [line for line in steps if line["step"] == trace["otherData"]["step"] and "loss" in line]
    print(f"step {step['step']}: {config['data']['sequence_length']} tokens in {step['seconds']:.2f} s, "
          f"{100 * step['mfu']:.1f} % of the peak of {machine['peak_flops'] / 1e9:.1f} GFLOP/s; memory "
          f"{step['peak_memory_bytes'] / 2**30:.2f} GiB")
    model, ranks = config["model"], machine["dp"] * machine["cp"]
    per_pair = 4 * model["heads"] * model["head_dim"] * config["train"]["micro_batch"]
    for direction, work in (("forward", 1.0), ("backward", 2.5)):
        spans = [e for e in trace["traceEvents"] if e["name"] == "attention visit" and e["cat"] == direction]
        rates = []
        for rank in {(span["pid"], span["tid"]) for span in spans}:
            mine = [span for span in spans if (span["pid"], span["tid"]) == rank]
            seconds = 1e-6 * sum(span["dur"] for span in mine)
            rates.append((work * per_pair * sum(span["args"]["pairs"] for span in mine) / seconds, seconds))
        rate, seconds = min(rates)
        print(f"attention {direction}: {seconds:.2f} s of the slowest rank, {100 * rate * ranks / machine['peak_flops']:.1f} % of peak")


if __name__ == "__main__":
    main()
