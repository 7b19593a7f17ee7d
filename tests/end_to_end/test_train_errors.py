#!/usr/bin/env python3
"""What `annulus train` and launch/run.sh refuse: one message that names the mend and one exit code, on any ranks."""
import math
import os
import pathlib
import re
import shutil
import signal
import tempfile
import tomllib

import annulus_runner as annulus

RANKS = (1, 3)


class Case:
    def __init__(self, code, mentions, *options, text=None, changes=None):
        """`text` (or bytes) stands in the config instead of the tiny run's, which else has `changes`."""
        self.code, self.mentions, self.options, self.text, self.changes = code, mentions, options, text, changes


def with_line(section, line):
    """The tiny run with one more line in a section, for what a dictionary cannot say."""
    return annulus.toml_text(annulus.TINY).replace(f"[{section}]\n", f"[{section}]\n{line}\n")


def with_value(key, value):
    """The tiny run with one value as the text says, which Python has no number for."""
    return re.sub(f"(?m)^{key} = .*$", lambda _: f"{key} = {value}", annulus.toml_text(annulus.TINY))


TINY_TEXT = annulus.toml_text(annulus.TINY)
HUGE = {"model.width": 65536, "model.heads": 256, "model.layers": 1000}  # terabytes of weights

CONFIGS = {
    "a key with a typo": Case(64, ["config.toml:", "model.widht", "did you mean model.width?"],
                              changes={"model.widht": 32}),
    "a section with a typo": Case(64, ["[modle]", "did you mean [model]?"], text="[modle]\nwidth = 32\n"),
    "a key of another section": Case(64, ["train.width", "model.width"], changes={"train.width": 32}),
    "a key outside any section": Case(64, ["width", "outside any section", "model.width"], text="width = 32\n"),
    "a section as a value": Case(64, ["model", "[model]"], text="model = 3\n"),
    "a number in quotes": Case(64, ["model.width", "leave the quotes out"], changes={"model.width": "32"}),
    "a string without quotes": Case(64, ["config.toml:2:", "TOML"], text="[parallel]\nplacement = zigzag\n"),
    "a fraction of a step": Case(64, ["train.steps", "an integer", "8.5"], changes={"train.steps": 8.5}),
    "an integer with a point": Case(64, ["train.steps", "write 8"], changes={"train.steps": 8.0}),
    "a boolean as a number": Case(64, ["tie_embeddings", "true or false"], changes={"model.tie_embeddings": 1}),
    "a value that is missing": Case(64, ["config.toml:2:", "TOML"], text="[model]\nwidth =\n"),
    "a bracket that is missing": Case(64, ["config.toml:1:", "TOML"], text="[model\nwidth = 32\n"),
    "a key twice": Case(64, ["config.toml:", "width"], text="[model]\nwidth = 32\nwidth = 64\n"),
    "a section twice": Case(64, ["config.toml:", "model"], text="[model]\nwidth = 32\n[model]\nheads = 2\n"),
    "no TOML at all": Case(64, ["config.toml:", "TOML"], text="#!/bin/sh\nexec true\n"),
    "no layer": Case(64, ["model.layers = 0", "from 1"], changes={"model.layers": 0}),
    "a learning rate out of bounds": Case(64, ["train.learning_rate", "to 100"], changes={"train.learning_rate": 1e30}),
    "a learning rate that is no number": Case(64, ["train.learning_rate", "not finite"],
                                              text=with_line("train", "beta1 = 0.9").replace("= 0.01", "= nan")),
    "a choice with a typo": Case(64, ["zigzga", 'did you mean "zigzag"'], changes={"parallel.placement": "zigzga"}),
    "a width the heads do not divide": Case(64, ["model.width = 33", "model.heads = 2"], changes={"model.width": 33}),
    "heads of width 18": Case(64, ["model.head_dim", "multiple of 8", "24"], changes={"model.width": 36}),
    "heads that kv_heads does not divide": Case(64, ["model.kv_heads = 3", "for example 2"],
                                                changes={"model.heads": 4, "model.kv_heads": 3}),
    "a vocabulary too small for bytes": Case(64, ["model.vocab = 100", "256"], changes={"model.vocab": 100}),
    "less than no warm-up": Case(64, ["train.warmup_steps = -1", "from 0"], changes={"train.warmup_steps": -1}),
    "a least rate above the highest": Case(64, ["min_learning_rate", "lower"],
                                           changes={"train.min_learning_rate": 1.0}),
    "validation without data": Case(64, ["validate_every", "data.validation_fraction above 0"],
                                    changes={"train.validate_every": 2, "data.validation_fraction": 0}),
    "a name that leads elsewhere": Case(64, ["run.name", "letters, digits"], changes={"run.name": "../other"}),
    "no data": Case(64, ["data.path is empty", "--data.path=FILE"], changes={"data.path": ""}),
    "more tokens at a time than can be addressed": Case(64, ["train.micro_batch", "lower"],
                                                        changes={"train.micro_batch": 2**31 - 1}),
    "nothing left to validate": Case(65, ["validation_fraction", "1e-06", "raise it"],
                                     changes={"data.validation_fraction": 1e-6, "train.validate_every": 2}),
    # numbers
    "an integer of more than 64 bits": Case(64, ["config.toml:", "64 bits", "write a smaller number"],
                                            text=with_value("steps", "9223372036854775808")),
    "an integer below 64 bits": Case(64, ["config.toml:", "64 bits", "write a smaller number"],
                                     text=with_value("steps", "-9223372036854775809")),
    "an integer of 40 digits": Case(64, ["config.toml:", "64 bits"], text=with_value("seed", "9" * 40)),
    "the largest integer of 64 bits": Case(64, ["train.steps = 9223372036854775807", "to 1000000000"],
                                           changes={"train.steps": 2**63 - 1}),
    "a number of more than a double": Case(64, ["config.toml:", "1e400", "at most 1.7e308"],
                                           text=with_value("learning_rate", "1e400")),
    "an infinite number": Case(64, ["train.learning_rate = inf", "not finite"],
                               text=with_value("learning_rate", "inf")),
    "a negative learning rate": Case(64, ["train.learning_rate = -1.0", "from 0"], changes={"train.learning_rate": -1}),
    "an integer with an exponent": Case(64, ["train.steps", "write 1000"], text=with_value("steps", "1e3")),
    "a comma in a number": Case(64, ["config.toml:", "saw ','"], text=with_value("learning_rate", "0,01")),
    "a negative seed": Case(64, ["run.seed = -1", "from 0"], changes={"run.seed": -1}),
    "a seed that is too large": Case(64, ["run.seed", "to 4611686018427387904"], changes={"run.seed": 2**62 + 1}),
    "a date": Case(64, ["train.steps", "a date"], text=with_value("steps", "2024-01-01")),
    "an array": Case(64, ["train.steps", "an array"], text=with_value("steps", "[8]")),
    "a table": Case(64, ["train.steps", "a table", "below [train]"], text=with_value("steps", "{a = 8}")),
    "waiting for nan seconds": Case(64, ["timeout_seconds = nan", "from 1"],
                                    text=with_line("parallel", "timeout_seconds = nan")),
    "a mean that never forgets": Case(64, ["train.beta1", "to 0.999999"], changes={"train.beta1": 1.0}),
    "an epsilon of 0": Case(64, ["train.epsilon", "from 1e-30"], changes={"train.epsilon": 0}),
    "a percentage": Case(64, ["data.validation_fraction = 5.0", "to 0.5"], changes={"data.validation_fraction": 5}),
    # files that are no configs
    "nothing": Case(64, ["data.path is empty", "--data.path=FILE"], text="# to be written\n"),
    "a line of 10 MB": Case(64, ["config.toml is larger than 1 MiB"], text=TINY_TEXT + "#" + "x" * 10_000_000),
    "a string of 10 MB": Case(64, ["config.toml is larger than 1 MiB"],
                              text=with_value("path", f'"{"x" * 10_000_000}"')),
    "a path of 900 KB": Case(64, ["data.path", "900000 bytes", "shorten it"], changes={"data.path": "x" * 900_000}),
    "no UTF-8 in a comment": Case(64, ["config.toml:27:", "save the file as UTF-8"],
                                  text=TINY_TEXT.encode() + b"# \xff\n"),
    "no UTF-8 in a value": Case(64, ["config.toml:", "save the file as UTF-8"],
                                text=TINY_TEXT.encode().replace(b"text.txt", b"te\xffxt.txt")),
    "UTF-16": Case(64, ["config.toml:1:1", "UTF-16", "save it as UTF-8"], text=TINY_TEXT.encode("utf-16")),
    "a NUL": Case(64, ["config.toml:27:1", "U+0000", "no text"], text=TINY_TEXT + "\0"),
    "a program": Case(64, ["config.toml:1:1", "control character"], text=b"\x7fELF\2\1\1" + bytes(range(256))),
    "a NUL in a value": Case(64, ["data.path", "NUL", "remove it"], text=with_value("path", r'"a\u0000b"')),
    "a terminal's escape in a key": Case(64, ["unknown key model. [31mred"],
                                         text=with_line("model", r'"\u001b[31mred" = 1')),
    "a string without an end": Case(64, ["config.toml:13:8", "does not end", "close it"],
                                    text=with_value("path", '"text.txt')),
    "a string over lines": Case(64, ["several lines", "single"], text=with_value("path", '"""text.txt"""')),
    "a letter outside of strings": Case(64, ["ASCII", "quote it"], text=with_line("model", "wïdth = 3")),
    "JSON": Case(64, ["config.toml:1:", "TOML"], text='{"model": {"width": 32}}\n'),
    "2000 nested tables": Case(64, ["config.toml:", "1000 dots", "section.key"], text=f"[{'a.' * 2000}a]\n"),
    "a key of 2000 parts": Case(64, ["1000 dots", "section.key"], text=with_line("model", "a." * 2000 + "a = 1")),
    "100000 nested arrays": Case(64, ["config.toml:", "depth"], text="a = " + "[" * 100_000),
    "a section nested too deep": Case(64, ["[a]", "the sections are run"], text="[a.b.c]\nd = 1\n"),
    "a key nested too deep": Case(64, ["model.width", "a table", "below [model]"], text="[model.width]\nsize = 32\n"),
    # keys that contradict each other
    "a batch in two ways": Case(64, ["data.global_batch = 3", "data.global_batch_tokens = 201", "leave one"],
                                changes={"data.global_batch_tokens": 201}),
    "a length in two ways": Case(64, ["train.steps = 8", "train.tokens = 1000", "leave one"],
                                 changes={"train.tokens": 1000}),
    "a batch of 2.99 sequences": Case(64, ["data.global_batch_tokens = 200", "set it to 134 or 201"],
                                      changes={"data.global_batch": None, "data.global_batch_tokens": 200}),
    "a batch of less than a sequence": Case(64, ["data.global_batch_tokens = 66", "set it to 67"],
                                            changes={"data.global_batch": None, "data.global_batch_tokens": 66}),
    "more steps than can be counted": Case(64, ["train.tokens", "steps", "lower it"],
                                           changes={"train.steps": None, "train.tokens": 2**62}),
    "more tokens than can be counted": Case(64, ["tokens", "can be counted", "lower"], changes={
        "train.steps": 10**9, "data.global_batch": 2**31 - 1, "data.sequence_length": 2**31}),
    "no steps to decay in": Case(64, ["wsd", "train.decay_steps", "from 1 to 6"], changes={"train.schedule": "wsd"}),
    "more decay than steps": Case(64, ["train.decay_steps = 7", "at most 6"],
                                  changes={"train.schedule": "wsd", "train.decay_steps": 7}),
    "a decay that nothing asks for": Case(64, ["train.decay_steps = 3", "cosine", 'train.schedule to "wsd"'],
                                          changes={"train.decay_steps": 3}),
    "a schedule with a typo": Case(64, ["train.schedule", 'did you mean "cosine"'],
                                   changes={"train.schedule": "cosin"}),
    "an unknown tokenizer": Case(64, ["data.tokenizer", "bytes", "NAME.model"], changes={"data.tokenizer": "gpt2"}),
    "a tokenizer for token ids": Case(64, ["data.tokenizer", "token ids", 'at "bytes"'], changes={
        "data.tokenizer": "good.model", "data.path": "text.bin"}),
    # shapes
    "a sequence of no token": Case(64, ["data.sequence_length = 0", "from 1"], changes={"data.sequence_length": 0}),
    "a sequence of less than none": Case(64, ["data.sequence_length = -1", "from 1"],
                                         changes={"data.sequence_length": -1}),
    "no heads": Case(64, ["model.heads = 0", "from 1"], changes={"model.heads": 0}),
    "more kv_heads than heads": Case(64, ["model.kv_heads = 4", "for example 2"], changes={"model.kv_heads": 4}),
    "heads of width 7": Case(64, ["model.head_dim = 7", "set model.head_dim to 8"], changes={"model.head_dim": 7}),
    "heads of width 264": Case(64, ["model.head_dim = 264", "to 256"], changes={"model.head_dim": 264}),
    "a batch of nothing": Case(64, ["data.global_batch = 0", "from 1"], changes={"data.global_batch": 0}),
    "a loss of no token at a time": Case(64, ["train.loss_tile = 0", "from 1"], changes={"train.loss_tile": 0}),
    "no ring": Case(64, ["parallel.dp = 0", "from 1"], changes={"parallel.dp": 0}),
    # resources
    "a model larger than any memory": Case(71, ["TiB", "parameters", "smaller model"], changes=HUGE),
    "a vocabulary larger than any memory": Case(71, ["TiB", "parameters", "smaller model"],
                                                changes={"model.vocab": 2**31 - 1}),
    "a micro-batch larger than any memory": Case(71, ["TiB"], changes={"train.micro_batch": 2**29,
                                                                      "data.global_batch": 2**29}),
    "5000 threads": Case(64, ["parallel.threads = 5000", "to 4096"], changes={"parallel.threads": 5000}),
    "a name of 300 letters": Case(64, ["run.name", "1 to 200 letters"], changes={"run.name": "x" * 300}),
    "the name ..": Case(64, ['run.name = ".."', "letters, digits"], changes={"run.name": ".."}),
    "no directory for runs": Case(64, ["run.directory is empty", 'write "."'], changes={"run.directory": ""}),
    "no time to wait": Case(64, ["timeout_seconds", "from 1 to"], changes={"parallel.timeout_seconds": 0}),
}
OVERRIDES = {
    "a key with a typo": Case(64, ["--train.stpes=3", "did you mean train.steps?"], "--train.stpes=3"),
    "a key without a section": Case(64, ["--steps=3", "train.steps"], "--steps=3"),
    "a section": Case(64, ["--train=3", "--train.KEY=VALUE"], "--train=3"),
    "no value": Case(64, ["--train.steps", "--train.steps=VALUE"], "--train.steps"),
    "an empty value": Case(64, ["--train.steps=", "no value"], "--train.steps="),
    "a value behind a blank": Case(64, ["--train.steps", "=VALUE"], "--train.steps", "3"),
    "a word for a number": Case(64, ["train.steps takes an integer", "not many"], "--train.steps=many"),
    "a second config": Case(64, ["other.toml"], "other.toml"),
    "an unknown option": Case(64, ["--fast"], "--fast"),
    "an unknown instruction set": Case(64, ["avx3", "avx2"], "--isa=avx3"),
    "an unknown transport": Case(64, ["tcp", "shared, nodes, mpi"], "--transport=tcp"),
    "fewer than no threads": Case(64, ["parallel.threads", "0 to"], "--threads=-1"),
    "2^32 ranks": Case(64, ["65536 * 65536 = 4294967296", "lower"], "--parallel.dp=65536", "--parallel.cp=65536"),
    "a batch in two ways": Case(64, ["data.global_batch = 3", "data.global_batch_tokens = 67"],
                                "--data.global_batch_tokens=67", "--data.global_batch=3"),
    "an integer of more than 64 bits": Case(64, ["train.steps takes an integer", "9223372036854775808"],
                                            "--train.steps=9223372036854775808"),
    "a number of more than a double": Case(64, ["train.learning_rate takes a number", "1e400"],
                                           "--train.learning_rate=1e400"),
    "nan": Case(64, ["train.max_grad_norm = nan", "not finite"], "--train.max_grad_norm=nan"),
    "a value behind a value": Case(64, ["train.steps takes an integer"], "--train.steps=1}\n[model]\nwidth=3"),
    "a key in capitals": Case(64, ["Train.Steps", "train.steps"], "--Train.Steps=3"),
    "--resume twice": Case(64, ["--resume"], "--resume=latest", "--resume=latest"),
    "--resume without a value": Case(64, ["--resume"], "--resume"),
    "--resume with an empty value": Case(64, ["--resume"], "--resume=", "--train.steps=9"),
}
FILES = {
    "no data file": Case(65, ["data.path", "none.txt", "No such file"], "--data.path=none.txt"),
    "data that is a directory": Case(65, ["data.path", "not a file"], "--data.path=."),
    "empty data": Case(65, ["data.path", "0 tokens", "longer text"], "--data.path=empty.txt"),
    "short data": Case(65, ["data.path", "68", "data.sequence_length", "shorter sequence"], "--data.path=short.txt"),
    "data that is one token short": Case(65, ["data.path", "leaves 67 tokens", "one row takes 68"],
                                         "--data.path=67.txt", "--data.validation_fraction=0"),
    "data that is a device": Case(65, ["data.path", "'/dev/zero' is not a file"], "--data.path=/dev/zero"),
    "data that is a pipe": Case(65, ["data.path", "'pipe' is not a file"], "--data.path=pipe"),
    "data that leads in a circle": Case(65, ["data.path", "symbolic links"], "--data.path=circle"),
    "data that leads nowhere": Case(65, ["data.path", "No such file"], "--data.path=nowhere"),
    "data behind a file": Case(65, ["data.path", "Not a directory"], "--data.path=text.txt/text.txt"),
    "a file name of 300 letters": Case(65, ["data.path", "File name too long"], f"--data.path={'x' * 300}"),
    "a directory name of 300 letters": Case(73, ["run directory", "File name too long"],
                                            f"--run.directory={'x' * 300}"),
    "a pipe where the runs belong": Case(73, ["pipe", "Not a directory"], "--run.directory=pipe"),
    "a file where the runs belong": Case(73, ["text.txt", "Not a directory"], "--run.directory=text.txt"),
    "a file above": Case(73, ["text.txt/runs", "Not a directory"], "--run.directory=text.txt/runs"),
    "a file where the run belongs": Case(64, ["./in-the-way", "--run.name"],
                                         "--run.directory=.", "--run.name=in-the-way"),
    "no tokenizer": Case(65, ["data.tokenizer", "none.model", "No such file"], "--data.tokenizer=none.model"),
    "a tokenizer that is a directory": Case(65, ["data.tokenizer", "not a file"], "--data.tokenizer=folder.model"),
    "a tokenizer that is a pipe": Case(65, ["data.tokenizer", "not a file"], "--data.tokenizer=pipe.model"),
    "an empty tokenizer": Case(65, ["data.tokenizer", "no SentencePiece model", "no pieces"],
                               "--data.tokenizer=empty.model"),
    "a text for a tokenizer": Case(65, ["data.tokenizer", "no SentencePiece model", "annulus tokenizer train"],
                                   "--data.tokenizer=text.model"),
    "a tokenizer of 100 MB of zeros": Case(65, ["data.tokenizer", "byte 0 begins no field"],
                                           "--data.tokenizer=zeros.model"),
    "a tokenizer that was cut off": Case(65, ["data.tokenizer", "cut off", "copy it again"],
                                         "--data.tokenizer=cut.model", "--model.vocab=300"),
    "a tokenizer without its last field": Case(65, ["data.tokenizer", "cut off behind its pieces"],
                                               "--data.tokenizer=headless.model", "--model.vocab=300"),
    "a tokenizer with a piece twice": Case(65, ["data.tokenizer", "SentencePiece says"],
                                           "--data.tokenizer=twice.model"),
    "a tokenizer for other text": Case(65, ["data.path", "'digits.model' has no token", "at byte 2;", "bytes"],
                                       "--data.tokenizer=digits.model"),
    "a vocabulary smaller than the tokenizer": Case(64, ["model.vocab = 256", "290 tokens", "to 290 or more"],
                                                    "--data.tokenizer=good.model"),
    "a tokenizer and too short a text": Case(65, ["data.path", "short.txt", "longer text"], "--data.path=short.txt",
                                             "--data.tokenizer=good.model", "--model.vocab=290"),
    "no checkpoint": Case(66, ["none", "--resume"], "--resume=none"),
    "a checkpoint that is a file": Case(66, ["text.txt", "--resume"], "--resume=text.txt"),
    "a checkpoint with an empty manifest": Case(66, ["MANIFEST"], "--resume=hollow"),
    "a checkpoint that is a directory": Case(66, ["MANIFEST", "--resume"], "--resume=folder"),
}
PROGRAM = {
    "no subcommand": Case(64, ["subcommand", "--help"]),
    "an unknown subcommand": Case(64, ["trian", "did you mean train"], "trian"),
    "an unknown option": Case(64, ["--fast", "--help"], "--fast", "train"),
    "train without a config": Case(64, ["annulus train CONFIG.toml"], "train"),
    "no such config": Case(64, ["none.toml", "does not exist"], "train", "none.toml"),
    "a config that is a directory": Case(64, ["is a directory"], "train", "."),
    "a config that is a pipe": Case(64, ["pipe is a pipe or a device"], "train", "pipe"),
    "a config that is a device": Case(64, ["/dev/zero is a pipe or a device"], "train", "/dev/zero"),
    "a config behind a file": Case(64, ["text.txt/config.toml", "Not a directory"], "train", "text.txt/config.toml"),
    "a config that is the text": Case(64, ["text.txt:", "TOML"], "train", "text.txt"),
    "a config without a name": Case(64, ["annulus train CONFIG.toml"], "train", ""),
    "an empty subcommand": Case(64, ["there is no command ''", "train, plan, attention"], ""),
    "an option without its value": Case(64, ["--transport=", "write one"], "train", "none.toml", "--transport="),
    "attention without files": Case(64, ["in is required", "--help"], "attention"),
    "bench without a subject": Case(64, ["subcommand", "--help"], "bench"),
    "a benchmark with a typo": Case(64, ["there is no command 'bench atention'", "annulus bench attention"], "bench", "atention"),
    "a benchmark of no token": Case(64, ["--length", "1 to"], "bench", "attention", "--length=0"),
    "a benchmark of odd width": Case(64, ["--width", "8 to"], "bench", "attention", "--width=7"),
    "tokenizer without a verb": Case(64, ["subcommand", "--help"], "tokenizer"),
    "tokenizer with a typo": Case(64, ["'tokenizer trian'", "annulus tokenizer train"], "tokenizer", "trian"),
    "tokenizer without a text": Case(64, ["text is required"], "tokenizer", "train"),
    "tokenizer without a place to write": Case(64, ["model is required"], "tokenizer", "train", "text.txt"),
    "a tokenizer of 10 tokens": Case(64, ["--vocab", "258 to"], "tokenizer", "train", "text.txt", "new.model",
                                     "--vocab=10"),
    "a tokenizer of another type": Case(64, ["--type", "wordpiece", "unigram"], "tokenizer", "train", "text.txt",
                                        "new.model", "--type=wordpiece"),
    "sample at nan": Case(64, ["--temperature", "0 to 100"], "sample", "folder", "--prompt=x", "--temperature=nan"),
    "sample of less than nothing": Case(64, ["--length", "1 to"], "sample", "folder", "--prompt=x", "--length=-1"),
    "sample without a prompt": Case(64, ["--prompt", "--help"], "sample", "folder"),
}


def proto_field(number, content):
    return bytes([8 * number + 2, len(content)]) + content


def written_model(*pieces):
    """A SentencePiece model of a few normal pieces behind <unk>."""
    fields = [proto_field(1, proto_field(1, b"<unk>") + b"\x15\0\0\0\0\x18\x02")]
    fields += [proto_field(1, proto_field(1, piece.encode()) + b"\x15\0\0\0\0\x18\x01") for piece in pieces]
    return b"".join(fields) + proto_field(2, b"\x18\x02") + proto_field(3, b"")


def write_tokenizers(files):
    made = annulus.run(["tokenizer", "train", files / "text.txt", files / "good.model", "--vocab=290"])
    assert made.code == 0, made
    good = (files / "good.model").read_bytes()
    (files / "folder.model").mkdir()
    os.mkfifo(files / "pipe.model")
    (files / "empty.model").write_bytes(b"")
    (files / "text.model").write_bytes((files / "text.txt").read_bytes())
    with open(files / "zeros.model", "wb") as zeros:
        zeros.truncate(100_000_000)
    (files / "cut.model").write_bytes(good[:len(good) // 2 + 1])
    (files / "headless.model").write_bytes(good[:good.rindex(proto_field(1, b"identity")) - 2])
    (files / "twice.model").write_bytes(written_model("a", "a"))
    (files / "digits.model").write_bytes(written_model(*"0123456789"))


class Refusals(annulus.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.files = cls.directory / "files"
        (cls.files / "folder").mkdir(parents=True)
        annulus.write_text(cls.files / "text.txt")
        annulus.write_text(cls.files / "short.txt", sums=4)
        (cls.files / "67.txt").write_text("a" * 67)
        for name in ("empty.txt", "in-the-way"):
            (cls.files / name).write_bytes(b"")
        os.mkfifo(cls.files / "pipe")
        (cls.files / "circle").symlink_to("circle")
        (cls.files / "nowhere").symlink_to("gone")
        write_tokenizers(cls.files)
        (cls.files / "hollow").mkdir()
        (cls.files / "hollow" / "MANIFEST").write_bytes(b"")

    def run_case(self, case, ranks):
        """In a directory of its own; also what it has left there."""
        place = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        for file in self.files.iterdir():
            (place / file.name).symlink_to(file)
        text = case.text or annulus.toml_text({**annulus.TINY, **(case.changes or {})})
        (place / "config.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        result = annulus.run(["train", "config.toml", f"--parallel.cp={ranks}", *case.options], ranks, cwd=place)
        return result, [path.name for path in place.iterdir() if not path.is_symlink()]

    def check(self, cases):
        jobs = {(name, ranks): lambda case=case, ranks=ranks: self.run_case(case, ranks)
                for name, case in cases.items() for ranks in RANKS}
        for (name, ranks), (result, left) in zip(jobs, annulus.together(jobs.values(), at_once=6)):
            with self.subTest(name, ranks=ranks):
                self.assertFails(result, cases[name].code, *cases[name].mentions)
                self.assertEqual(result.out, "")
                if cases[name].code != 66:  # resuming makes the run's directory first
                    self.assertEqual(left, ["config.toml"])

    def test_configs(self):
        self.check(CONFIGS)

    def test_overrides(self):
        self.check(OVERRIDES)

    def test_files(self):
        self.check(FILES)

    def test_command_lines(self):
        jobs = {(name, ranks): lambda case=case, ranks=ranks: annulus.run(case.options, ranks, cwd=self.files)
                for name, case in PROGRAM.items() for ranks in RANKS}
        for (name, ranks), result in zip(jobs, annulus.together(jobs.values(), at_once=6)):
            with self.subTest(name, ranks=ranks):
                self.assertFails(result, PROGRAM[name].code, *PROGRAM[name].mentions)


class Unusual(annulus.TestCase):
    """What looks like bad input but is none: it trains."""

    def test_it_works(self):
        cases = {  # changes, ranks
            "one token, one rank": ({"data.sequence_length": 1}, 1),
            "one token, 3 ranks": ({"data.sequence_length": 1}, 3),
            "2 tokens, 3 ranks": ({"data.sequence_length": 2}, 3),
            "2 tokens, 3 ranks, striped": ({"data.sequence_length": 2, "parallel.placement": "striped"}, 3),
            "2 tokens, 3 ranks, contiguous": ({"data.sequence_length": 2, "parallel.placement": "contiguous"}, 3),
            "2 tokens, 3 ranks by messages": ({"data.sequence_length": 2, "parallel.transport": "mpi"}, 3),
            "more rings than sequences": ({"parallel.dp": 3, "parallel.cp": 1, "data.global_batch": 1}, 3),
            "a micro-batch above the batch": ({"train.micro_batch": 100}, 3),
            "no warm-up, one step": ({"train.steps": 1, "train.warmup_steps": 0}, 1),
            "a warm-up longer than the run": ({"train.warmup_steps": 100}, 1),
            "no learning": ({"train.learning_rate": 0, "train.min_learning_rate": 0}, 1),
            "data of exactly one row": ({"data.path": "row.txt", "data.validation_fraction": 0.0}, 3),
        }
        jobs = {}
        for name, (changes, ranks) in cases.items():
            run = annulus.TinyRun(self.directory / name, {"train.steps": 2, **changes}, ranks)
            (run.directory / "row.txt").write_text("a" * 68)
            jobs[name] = run
        for (name, run), result in zip(jobs.items(), annulus.together([run.train for run in jobs.values()], at_once=6)):
            with self.subTest(name):
                self.assertDone(result)
                losses = annulus.losses(run.metrics())
                self.assertEqual(sorted(losses), list(range(1, cases[name][0].get("train.steps", 2) + 1)))
                self.assertTrue(all(math.isfinite(loss) for loss in losses.values()), losses)


class Ranks(annulus.TestCase):
    """Numbers of ranks and launchers that do not go together."""

    def check(self, cases):
        """name: (options, ranks, environment, launcher, texts of the message); all end in 64."""
        run = annulus.TinyRun(self.directory)
        jobs = [lambda case=case, number=number: annulus.run(run.arguments(f"--run.name=none-{number}", *case[0]), case[1],
                                                             case[3], case[2], run.directory)
                for number, case in enumerate(cases.values())]
        for (name, case), result in zip(cases.items(), annulus.together(jobs, at_once=6)):
            with self.subTest(name):
                self.assertFails(result, 64, *case[4])

    def test_numbers(self):
        self.check({
            "3 for cp 1": ([], 3, None, None, ["1 x 1 = 1 ranks", "3 were started", "--parallel.cp=3"]),
            "1 for cp 3": (["--parallel.cp=3"], 1, None, None, ["3 ranks", "1 was started", "-np 3"]),
            "3 for dp 2": (["--parallel.dp=2"], 3, None, None, ["2 x 1 = 2 ranks", "3 were started", "-np 2"]),
            "4 for dp 3 x cp 2": (["--parallel.dp=3", "--parallel.cp=2"], 4, None, None, ["= 6 ranks", "-np 6"]),
            "2 by run.sh for cp 1": ([], 2, None, "run.sh", ["2 were started", "--parallel.cp=2"]),
        })

    def test_the_advice_is_right(self):
        """Whatever --parallel.cp the message advises, with it the number of ranks fits."""
        run = annulus.TinyRun(self.directory)
        for ranks, dp, cp in ((3, 1, 1), (4, 2, 1), (3, 2, 1), (1, 2, 1)):
            with self.subTest(ranks=ranks, dp=dp, cp=cp):
                result = annulus.run(run.arguments(f"--parallel.dp={dp}", f"--parallel.cp={cp}"), ranks,
                                     cwd=run.directory)
                self.assertFails(result, 64)
                for advised in re.findall(r"--parallel\.cp=(\d+)", result.messages[0]):
                    self.assertEqual(dp * int(advised), ranks, result.messages[0])

    def test_ranks_as_threads(self):
        self.check({
            "other than dp x cp": (["--in-process-ranks=3", "--parallel.cp=2"], 1, None, None,
                                   ["in_process_ranks = 3", "set it to 2"]),
            "of 2 processes": (["--in-process-ranks=2", "--parallel.cp=2"], 2, None, None,
                               ["in_process_ranks = 2", "2 processes"]),
            "of 3 processes": (["--in-process-ranks=3", "--parallel.cp=3"], 3, None, None,
                               ["in_process_ranks = 3", "3 processes"]),
            "by messages": (["--in-process-ranks=2", "--parallel.cp=2", "--transport=mpi"], 1, None, None,
                            ["threads", "use auto"]),
            "without": (["--transport=in-process", "--parallel.cp=2"], 2, None, None, ["in-process", "shared"]),
            "without, dp 2": (["--transport=in-process", "--parallel.dp=2"], 2, None, None, ["in-process", "shared"]),
        })

    def test_copies_of_rank_0(self):
        """A launcher says that it started several processes, but they do not find each other."""
        slurm = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"}
        mentions = ["4 processes", "srun --mpi=pmix", "launch/run.sh"]
        self.check({
            "Slurm": ([], 1, slurm, None, mentions),
            "a step's size only": ([], 1, {"SLURM_STEP_NUM_TASKS": "4"}, None, mentions),
            "PMI": ([], 1, {"PMI_SIZE": "4", "PMI_RANK": "0"}, None, mentions),
        })

    def test_inside_an_allocation(self):
        """Variables of a Slurm job of 4 tasks, but of none of its steps: this is one rank, and all is well."""
        run = annulus.TinyRun(self.directory / "job", {"train.steps": 2})
        job = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4"}
        self.assertDone(annulus.run(run.arguments(), env=job, cwd=run.directory))


class RanksThatDiffer(annulus.TestCase):
    """Ranks that were started alike but see other things, as on nodes with files of their own."""

    def on_two(self, run, *differences):
        """Rank 0 in the run's directory and rank 1 in its sibling "other", each with options of its own."""
        words = [*annulus.MPIRUN, "--mca", "orte_abort_on_non_zero_status", "1"]
        for number, options in enumerate(differences):
            where = run.directory if number == 0 else run.directory.parent / "other"
            words += [*(":" if number else ()), "-np", "1", "-wdir", where, annulus.program,
                      *run.arguments("--parallel.cp=2", *options)]
        return annulus.run_command(words)

    def test_them(self):
        run = annulus.TinyRun(self.directory / "one", {"run.directory": str(self.directory / "runs")})
        other = pathlib.Path(shutil.copytree(run.directory, self.directory / "other"))
        self.assertFails(self.on_two(run, [], ["--train.learning_rate=0.05"]), 64, "the config of rank 1",
                         "learning_rate = 0.05")
        text = other / annulus.TINY["data.path"]
        text.write_bytes(text.read_bytes().replace(b"1", b"2", 1))
        self.assertFails(self.on_two(run, [], []), 65, "text.txt", "rank 1", "the same file")
        shutil.copy(run.directory / annulus.TINY["data.path"], text)
        self.assertDone(self.on_two(run, [], []))

    def test_a_ring_that_lacks_memory(self):
        """Of two rings only the first has a sequence to train on, and it is too long for this machine."""
        run = annulus.TinyRun(self.directory / "memory", {
            "parallel.dp": 2, "data.global_batch": 1, "train.micro_batch": 1, "data.sequence_length": 20000,
            "model.heads": 4096, "model.kv_heads": 4096, "model.head_dim": 256, "data.validation_fraction": 0}, 1)
        self.assertFails(annulus.run(run.arguments(), 2, cwd=run.directory), 71, "this run needs", "each of these would fit")
        self.assertFalse(run.path.exists())


class KilledOrStopped(annulus.TestCase):
    """A rank that is gone, or hangs, in the middle of a run."""

    def started(self, name, *options):
        run = annulus.TinyRun(self.directory / name, {"train.steps": 1000000, "parallel.timeout_seconds": 5}, 3)
        command = annulus.command_on(3, run.arguments(*options), "run.sh")
        process = annulus.start(command, {"ANNULUS": str(annulus.program)}, run.directory)
        self.addCleanup(annulus.end, process)
        annulus.wait_until(lambda: annulus.last_step(run.metrics_file) >= 2, "the second step")
        return run, process

    def rank(self, process, number):
        """The process id of one rank."""
        for pid in annulus.processes_of(process):
            variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if f"OMPI_COMM_WORLD_RANK={number}".encode() in variables:
                return pid
        raise AssertionError(f"rank {number} is not there")

    def test_killed(self):
        for number in (0, 2):
            with self.subTest(rank=number):
                run, process = self.started(f"killed {number}")
                os.kill(self.rank(process, number), signal.SIGKILL)
                self.assertFails(annulus.result_of(process), 75, "killed by signal 9 (KILL)", "--resume=latest")

    def test_stopped(self):
        for transport in ("shared", "mpi"):
            with self.subTest(transport):
                run, process = self.started(f"stopped {transport}", f"--transport={transport}")
                os.kill(self.rank(process, 2), signal.SIGSTOP)
                result = annulus.result_of(process)
                self.assertEqual(result.code, 75, result)
                self.assertTrue(any("of rank 2:" in message for message in result.messages), result)


class FullDisk(annulus.TestCase):
    """A limit on the size of files stands for a disk that is full."""

    def limited(self, run, kilobytes, *options):
        """The messages are not under the limit: another process puts them into their file."""
        script = f'{{ ulimit -f {kilobytes}; "$@"; }} 2>&1 >/dev/null | cat >&2; exit ${{PIPESTATUS[0]}}'
        return annulus.run_command(["bash", "-c", script, "bash", annulus.program, *run.arguments(*options)],
                                   cwd=run.directory)

    def test_no_room_for_checkpoints(self):
        run = annulus.TinyRun(self.directory / "checkpoints", {"checkpoint.every": 2})
        result = self.limited(run, 20)
        self.assertFails(result, 73, "last checkpoint was not written", "File too large", "--resume=latest")
        self.assertEqual(len(result.warnings), 3, result)  # of steps 2, 4 and 6, which stopped nothing
        self.assertEqual(sorted(annulus.losses(run.metrics())), list(range(1, 9)))
        self.assertEqual(list((run.path / "checkpoints").iterdir()), [])
        self.assertDone(run.train("--resume=latest"))
        self.assertTrue(run.checkpoint(8).exists())

    def test_no_room_at_all(self):
        run = annulus.TinyRun(self.directory / "nothing")
        self.assertFails(self.limited(run, 0), 73, "tiny")
        self.assertFalse(run.path.exists())
        self.assertDone(run.train())


class RunScript(annulus.TestCase):
    script = annulus.ROOT / "launch" / "run.sh"

    def start(self, *arguments, env=None):
        return annulus.run_command([self.script, *arguments], {"ANNULUS": str(annulus.program), **(env or {})},
                                   self.directory)

    def test_misuse(self):
        for arguments in ([], ["-np"], ["-np", "2"], ["-np", "2", "--"], ["-np", "0", "--", "train"],
                          ["-np", "two", "--", "train"], ["--", "train"], ["-np", "2", "train", "config.toml"],
                          ["-np", "2", "--hostfile"], ["-np", "-1", "--", "train"], ["-np", "1.5", "--", "train"],
                          ["-np", "0x2", "--", "train"], ["-np", "2", "--hostfile", "", "--", "train"]):
            with self.subTest(" ".join(arguments)):
                self.assertFails(self.start(*arguments), 64, "launch/run.sh -np N")
        self.assertFails(self.start("-np", "9" * 20, "--", "train"), 64, "-np 9999", "at most 65536")
        self.assertFails(self.start("-np", "2", "--hostfile", "none", "--", "train"), 64, "none", "HOST slots=N")

    def test_without_mpirun(self):
        tools = self.directory / "bin"
        tools.mkdir()
        for tool in ("bash", "dirname", "nproc", "id"):
            (tools / tool).symlink_to(shutil.which(tool))
        result = self.start("-np", "2", "--", "--version", env={"PATH": str(tools)})
        self.assertFails(result, 64, "no mpirun found", "openmpi-bin")

    def test_without_annulus(self):
        for program in ("/nonexistent", str(annulus.ROOT)):
            with self.subTest(program):
                result = self.start("-np", "2", "--", "--version", env={"ANNULUS": program})
                self.assertFails(result, 64, program)

    def test_it_passes_on(self):
        """A run, an error's message and its code."""
        run = annulus.TinyRun(self.directory / "run", {"train.steps": 2}, ranks=3)
        result = run.train(launcher="run.sh")
        self.assertDone(result)
        self.assertEqual("they take turns" in result.err, 3 > len(os.sched_getaffinity(0)))
        self.assertEqual(sorted(annulus.losses(run.metrics())), [1, 2])
        self.assertFails(run.train("--data.path=none.txt", launcher="run.sh"), 65, "none.txt")


class NotANumber(annulus.TestCase):
    def test_training_that_diverges(self):
        """Weight decay times learning rate far above 1 makes every weight 99 times larger at each step."""
        changes = {"train.learning_rate": 1, "train.weight_decay": 100, "train.max_grad_norm": 0, "train.steps": 100,
                   "checkpoint.every": 2}
        for name, ranks, threads in (("1 rank", 1, False), ("3 ranks", 3, False), ("3 threads as ranks", 3, True)):
            with self.subTest(name):
                run = annulus.TinyRun(self.directory / name, changes, ranks, threads)
                result = run.train()
                self.assertFails(result, 76, "the gradient norm", "train.learning_rate", "last checkpoint")
                steps = annulus.losses(run.metrics())
                self.assertEqual(sorted(steps), list(range(1, len(steps) + 1)))
                self.assertIn(f"step {len(steps) + 1}:", result.messages[0])
                self.assertTrue(all(loss is not None for loss in steps.values()))
                self.assertTrue(run.checkpoint(len(steps) // 2 * 2).exists())
                self.assertFalse(run.checkpoint(len(steps) // 2 * 2 + 2).exists())


class Pages(annulus.TestCase):
    def printed(self, *arguments, ranks=1):
        result = annulus.run(["train", *arguments], ranks, cwd=self.directory)
        self.assertDone(result)
        self.assertEqual(result.err, "")
        return result.out

    def test_print_config(self):
        changes = {"run.directory": 'a "quoted" \\ directory', "train.learning_rate": 0.1 + 0.2, "model.layers": 3}
        annulus.write_config(self.directory / "config.toml", changes)
        page = self.printed("config.toml", "--print-config")
        config = tomllib.loads(page)
        for name, value in {**annulus.TINY, **changes}.items():
            section, key = name.split(".")
            self.assertEqual(config[section][key], value, name)
        (self.directory / "printed.toml").write_text(page)
        self.assertEqual(self.printed("printed.toml", "--print-config"), page)
        self.assertEqual(self.printed("printed.toml", "--print-config", ranks=3), page)
        overridden = self.printed("printed.toml", "--print-config", "--train.steps=9", "--run.name=nine", "--threads=2")
        self.assertEqual(tomllib.loads(overridden),
                         {**config, "train": {**config["train"], "steps": 9}, "run": {**config["run"], "name": "nine"},
                          "parallel": {**config["parallel"], "threads": 2}})
        reference = self.printed("--config-reference")
        for section, keys in config.items():
            self.assertIn(f"## [{section}]", reference)
            for key in keys:
                self.assertIn(f"| `{key}` |", reference)

    def test_a_run_writes_the_same_config(self):
        run = annulus.TinyRun(self.directory / "run", {"train.steps": 2})
        self.assertDone(run.train("--train.warmup_steps=1"))
        page = annulus.run(run.arguments("--train.warmup_steps=1", "--print-config"), cwd=run.directory).out
        self.assertEqual((run.path / "config.toml").read_text(), page)

    def test_help(self):
        pages = {
            (): ["train", "attention", "bench", "sample", "--version", "launch/run.sh"],
            ("train",): ["config", "--resume", "--print-config", "--config-reference", "--transport",
                         "--in-process-ranks", "--isa", "--threads", "--section.key=value"],
            ("attention",): ["in ", "out ", "mask_slices", "softmax_scale", "--placement", "--dtype", "--device",
                             "--transport", "--in-process-ranks", "--isa", "--threads", "--repeat",
                             "--timeout-seconds"],
            ("bench",): ["attention"],
            ("bench", "attention"): ["--json", "--isa", "--threads", "--length", "--width", "--heads", "--repeat"],
            ("tokenizer",): ["train", "show"],
            ("tokenizer", "train"): ["text ", "model ", "--vocab", "--type", "--format", "--force", "byte for byte"],
            ("tokenizer", "show"): ["model ", "--text"],
            ("sample",): ["checkpoint", "--prompt", "--length", "--temperature", "--top-k", "--seed", "--threads"],
        }
        for command, words in pages.items():
            for option in ("--help", "-h"):
                with self.subTest(" ".join((*command, option))):
                    result = annulus.run([*command, option])
                    self.assertDone(result)
                    self.assertEqual([word for word in ["--help", *words] if word not in result.out], [])

    def test_only_one_rank_speaks(self):
        for option in ("--help", "--version"):
            self.assertEqual(annulus.run([option], 3).out.strip(), annulus.run([option]).out.strip())

    def test_version(self):
        result = annulus.run(["--version"])
        self.assertDone(result)
        self.assertRegex(result.out, r"^annulus \d+\.\d+\.\d+ \(\w+")  # the commit in brackets
        for word in ("instruction sets", "plain", "Open MPI", "HDF5"):
            self.assertIn(word, result.out)


if __name__ == "__main__":
    annulus.main()
