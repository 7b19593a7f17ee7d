#!/usr/bin/env bash
# From a fresh clone to a trained model: installs what is missing, builds, takes the King James Bible from its Debian package
# and trains a small byte-level model on it by ring attention over 4 ranks of this machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
began=$SECONDS

launch/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release --target annulus

text=data/kjv.txt
if [[ ! -s $text ]]; then
  mkdir -p data
  bible gen1:1-rev22:21 </dev/null >$text.tmp
  mv $text.tmp $text
fi

run=runs/quickstart resume=()
if [[ -e $run ]]; then
  echo "quickstart: $run exists, going on from its newest checkpoint"
  resume=(--resume=latest)
fi
launch/run.sh -np 4 -- train configs/quickstart.toml "${resume[@]}"

python3 - "$run" $((SECONDS - began)) <<'PYTHON'
import glob, json, sys
run, seconds = sys.argv[1], int(sys.argv[2])
lines = [json.loads(line) for line in open(f"{run}/metrics.jsonl")]
steps = [line for line in lines if "loss" in line]
val = [line for line in lines if "val_loss" in line][-1]
rate = sorted(s["tokens_per_second"] for s in steps)[len(steps) // 2]
mfu = sorted(s["mfu"] for s in steps)[len(steps) // 2]
last = sorted(glob.glob(f"{run}/checkpoints/step-????????"))[-1]
more = steps[-1]["step"] + 100
end = [s["loss"] for s in steps[-50:]]
print(f"""
quickstart: done in {seconds // 60} min {seconds % 60} s, {sum(s['seconds'] for s in steps) / 60:.1f} min of it training
  text        the King James Bible, read as bytes; trained on {steps[-1]['tokens']:,} of them, on 4 ranks in one ring
  loss        {steps[0]['loss']:.3f} at the first step, {sum(end) / len(end):.3f} at the end (mean of {len(end)}); validation {val['val_loss']:.4f} nats per byte
  speed       {rate:,.0f} tokens/s, {100 * mfu:.0f} % of the peak of the cores in use (medians)
  report      {run}/report.html
  checkpoint  {last}
  metrics     {run}/metrics.jsonl
Go on with 100 more steps, now on 2 ranks:
  launch/run.sh -np 2 -- train configs/quickstart.toml --resume=latest --parallel.cp=2 --train.steps={more}
See what it has learnt:
  build/release/annulus sample {run} --prompt="In the beginning "
""")
PYTHON
