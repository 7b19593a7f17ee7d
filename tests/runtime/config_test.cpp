// Configs: what is read, what is refused and in which words, and that what is written reads back equal.
#include "runtime/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>

#include "runtime/config_fields.h"
#include "runtime/config_file.h"
#include "runtime/core/error.h"
#include "runtime/nearest.h"

namespace annulus {
namespace {

const std::string kGood = "[data]\npath = \"x\"\n";  // the least that a run needs

// Every key, by hand, with a valid value other than the default (token ids have no tokenizer, and what is given
// in sequences and steps is not given in tokens).
const std::string kEveryValue =
    R"(run = {name = "my-run_2.b", directory = "/tmp/some \"runs\"\\x", seed = 4611686018427387904}
)"
    "model = {layers = 3, width = 96, heads = 6, kv_heads = 2, head_dim = 24, ffn = 100, vocab = 50257, "
    "tie_embeddings = false, rope_base = 500000, norm_epsilon = 1e-6}\n"
    R"(data = {path = "näme\u0001\n\t#.txt", tokenizer = "bytes", format = "tokens", sequence_length = 2147483648, )"
    "end_of_document = 50256, document_mask = false, restart_positions = false, global_batch = 7, global_batch_tokens "
    "= 0, validation_fraction = 0.1}\n"
    R"(parallel = {dp = 2, cp = 3, placement = "striped", transport = "in-process", isa = "avx2", )"
    "threads = 5, in_process_ranks = 6, timeout_seconds = 1.5}\n"
    "train = {steps = 1_000, tokens = 0, schedule = \"wsd\", decay_steps = 17, micro_batch = 8, learning_rate = 0.3, "
    "min_learning_rate = 0.02, warmup_steps = 11, "
    "beta1 = 0.0, beta2 = 0.98, epsilon = 1e-10, weight_decay = 0, max_grad_norm = 0.25, loss_tile = 0x10, mlp_tile = "
    "77, recompute = \"block\", dtype = \"bf16\", "
    "validate_every = 9, log_every = 4, trace_step = 6}\n"
    "checkpoint = {every = 13, keep = 2}\n";

const std::vector<std::string> kSections = {"run", "model", "data", "parallel", "train", "checkpoint"};

size_t num_keys() { return size_t(std::count(kEveryValue.begin(), kEveryValue.end(), '=')) - kSections.size(); }

std::string temporary_path(const std::string& name) {
  return testing::TempDir() + "annulus_config_" + std::to_string(getpid()) + "_" + name;
}

struct TemporaryFile {
  explicit TemporaryFile(const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
  ~TemporaryFile() { std::filesystem::remove(path); }
  const std::string path = temporary_path("file.toml");
};

Config from_overrides(const std::vector<std::string>& overrides, const std::string& text = kGood) {
  return read_config(TemporaryFile(text).path, overrides);
}

// The message of the usage error that `read` must end in.
std::string error_of(const std::function<void()>& read) {
  try {
    read();
  } catch (const UserError& error) {
    EXPECT_EQ(int(error.code()), 64);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << "one message is one line: " << error.what();
    return error.what();
  }
  return "(no error)";
}

std::string error_of_text(const std::string& text) {
  return error_of([&] { parse_config(text, "a.toml"); });
}

std::string error_of_override(const std::string& text) {
  return error_of([&] { from_overrides({text}); });
}

void expect_in(const std::string& expected, const std::string& message, const std::string& input) {
  EXPECT_NE(message.find(expected), std::string::npos)
      << "input:    " << input.substr(0, 200) << "\nmessage:  " << message << "\nexpected: " << expected;
}

struct Bad {
  std::string input, expected;  // part of the message
};

const std::vector<Bad> kBadFiles = {
    // not TOML
    {"[train\nsteps = 1\n", "a.toml:1:7: not valid TOML: "},
    {"[parallel]\nplacement = zigzag\n", "strings stand in double quotes"},
    {"[train]\nsteps = 9223372036854775808\n", "'9223372036854775808' is not representable in 64 bits"},
    {"[train]\nlearning_rate = 1e400\n", "a.toml:2:22: not valid TOML: "},
    {"[train]\nsteps = ]\n", "a.toml:2:9: not valid TOML: "},
    {"# ä # ä\n[data]\npath = \"\\\"ä\" ä", "a.toml:3:14: not valid TOML: only strings and comments may hold other"},
    {"[data]\npath = \"\"\"x\"\"\"", "a.toml:2:8: not valid TOML: no value here needs a string over several lines"},
    {"[train]\nsteps = 1\nsteps = 2\n",
     "a.toml:3:9: not valid TOML: Error while parsing key-value pair: cannot redefine"},
    {"[data]\npath = \"\xff\"\n", "a.toml:2:8: not valid TOML: Encountered invalid utf-8"},
    // names
    {"[train]\n\n  learning_rte = 1\n",
     "a.toml:3:3: unknown key train.learning_rte; did you mean train.learning_rate?"},
    {"[model]\nseed = 1\n", "a.toml:2:1: unknown key model.seed; did you mean run.seed?"},
    {"[train]\nxyz = 1\n",
     "a.toml:2:1: unknown key train.xyz; [train] has steps, tokens, micro_batch, learning_rate, "},
    {"[data]\n\"a\\nb\" = 1\n", "a.toml:2:1: unknown key data.a b; "},
    {"[trian]\nsteps = 1\n", "a.toml:1:2: unknown section [trian]; did you mean [train]?"},
    {"[optimizer]\n", "unknown section [optimizer]; the sections are run, model, data, parallel, train, checkpoint"},
    {"[[modle]]\n", "a.toml:1:3: unknown section [modle]; did you mean [model]?"},
    {"# c\nsteps = 1\n", "a.toml:2:1: key steps stands outside any section; did you mean train.steps?"},
    {"train.stesp = 1\n", "a.toml:1:7: unknown key train.stesp; did you mean train.steps?"},
    // the first mistake of a file, not of the alphabet
    {"[train]\nzzz = 1\naaa = 1\n[data]\nbbb = 1\n", "a.toml:2:1: unknown key train.zzz"},
    // sections as values, values as sections
    {"train = 3\n", "a.toml:1:1: section train takes no value of its own; write [train] once and below it KEY"},
    {"[[train]]\nsteps = 1\n", "a.toml:1:3: section train takes no value of its own"},
    {"[train.steps]\na = 1\n", "takes an integer from 1 to 1000000000, not a table; write steps = VALUE below [train]"},
    {"[train]\nsteps = [1]\n", "a.toml:2:9: train.steps takes an integer from 1 to 1000000000, not an array"},
    // types
    {"[train]\nsteps = 3.0\n", "a.toml:2:9: train.steps takes an integer from 1 to 1000000000, not 3.0; write 3"},
    {"[train]\nsteps = \"5\"\n", "takes an integer from 1 to 1000000000, not \"5\"; leave the quotes out"},
    {"[data]\npath = 5\n", "a.toml:2:8: data.path takes a string, not 5; write \"5\""},
    // values
    {"[train]\nsteps = 0\n", "a.toml:2:9: train.steps = 0 is out of range; it must be from 1 to 1000000000"},
    {"[data]\nvalidation_fraction = 5\n", "data.validation_fraction = 5.0 is out of range; it must be from 0 to 0.5"},
    {"[train]\nlearning_rate = nan\n", "a.toml:2:17: train.learning_rate = nan is not finite; it must be from 0 to"},
    {"[parallel]\nplacement = \"zigzga\"\n",
     "a.toml:2:13: parallel.placement = \"zigzga\" is not one of contiguous, zigzag, striped; did you mean"},
    {"[data]\npath = \"a\\u0000b\"\n", "a.toml:2:8: data.path = \"a\\u0000b\" holds a NUL character"},
    {"[parallel]\nisa = \"" + std::string(5000, 'a') + "\"\n", "aaa... is not one of auto"},
};

TEST(Config, MistakesInFilesAreNamedWithTheirPlace) {
  for (const Bad& bad : kBadFiles) {
    const std::string message = error_of_text(bad.input);
    expect_in(bad.expected, message, bad.input);
    EXPECT_LT(message.size(), 500u) << message;
  }
}

const std::vector<Bad> kBadOverrides = {
    {"--train.steps", "--train.steps has no value; write --train.steps=VALUE, an integer from 1 to 1000000000"},
    {"--train.steps=", "--train.steps= has no value; write --train.steps=VALUE, an integer from 1"},
    {"--train.steps=2.0", "--train.steps=2.0: train.steps takes an integer from 1 to 1000000000, not 2.0; write 2"},
    {"--train.learning_rate=nan", "--train.learning_rate=nan: train.learning_rate = nan is not finite"},
    {"--parallel.transport=mpl", "is not one of auto, shared, nodes, mpi, in-process; did you mean \"mpi\"?"},
    {"--data.path=x\xff", ": not a TOML string: Encountered invalid utf-8"},
    {"--train.steps=1}\ny={z=2", ": train.steps takes an integer from 1 to 1000000000, not 1} y={z=2"},
    {"--data.path=", "--data.path= has no value; write --data.path=VALUE, a string"},
    {"--train.step=5", "--train.step=5: unknown key train.step; did you mean train.steps?"},
    {"--trian.steps=5", "--trian.steps=5: unknown key trian.steps; did you mean train.steps?"},
    {"--train.steps =5", "unknown key train.steps ; did you mean train.steps?"},
    {"--steps=5", "--steps=5: key steps stands outside any section; did you mean train.steps?"},
    {"--train=5", "--train=5: train is a section; write --train.KEY=VALUE"},
    {"", "\"\" names no key; write an override as --section.key=VALUE"},
};

TEST(Config, MistakesInOverridesNameTheOverride) {
  for (const Bad& bad : kBadOverrides) expect_in(bad.expected, error_of_override(bad.input), bad.input);
}

TEST(Config, WrongTypesAreRefused) {
  const auto expect_refused = [](const std::string& key, const std::string& takes, const std::string& value) {
    const std::string text = "--" + key + "=" + value;
    const std::string message = error_of_override(text);
    expect_in(text + ": " + key + " takes " + takes + ", not " + value, message, text);
    EXPECT_EQ(message.find("; write"), std::string::npos) << "nobody knows what to write instead: " << message;
  };
  for (const std::string value : {"abc", "3.5", "1e+300", "-inf", "nan", "true", "\"x\"", "1,", "1, w = 2", "1 # one",
                                  "9223372036854775808", "0x", "1__0", "01", "1.", "[1", "}"})
    expect_refused("train.steps", "an integer from 1 to 1000000000", value);
  for (const std::string value : {"1e400", "-1e400", ".5", "1,5", "1e", "false", "\"1\"", "one", "1e-3s", "--1"})
    expect_refused("train.learning_rate", "a number from 0 to 100", value);
  for (const std::string value : {"True", "1", "0.0", "yes", "\"true\"", "tru", "truee"})
    expect_refused("model.tie_embeddings", "true or false", value);
}

struct Contradiction {
  std::vector<std::string> overrides;
  std::string expected;
};

const std::vector<Contradiction> kContradictions = {
    {{"model.heads=6"}, "set model.kv_heads to a divisor of 6, for example 3"},
    {{"model.width=100", "model.heads=8"}, "set model.width to a multiple, for example 128, or model.head_dim"},
    {{"model.head_dim=20"}, "(what the attention kernels are built for); set model.head_dim to 24"},
    {{"model.width=2048"}, "model.head_dim = 512 (model.width / model.heads) is not a multiple of 8 up to 256"},
    {{"model.vocab=255"}, "model.vocab = 255 is too small for data.tokenizer = \"bytes\""},
    {{"data.tokenizer=gpt2"}, "is neither \"bytes\" nor the path of a SentencePiece model; name a file NAME.model"},
    {{"data.tokenizer=a.model", "data.format=tokens"}, "data.path holds token ids; leave it at \"bytes\""},
    {{"train.min_learning_rate=0.002"}, "train.min_learning_rate = 0.002 is above train.learning_rate = 0.001"},
    {{"train.schedule=wsd"},
     "needs train.decay_steps, the number of last steps over which the learning rate falls; set it "
     "from 1 to 90 (train.steps - train.warmup_steps), for example 18"},
    {{"train.schedule=wsd", "train.decay_steps=91"},
     "train.decay_steps = 91 is more than the 90 steps behind the warm-up"},
    {{"train.schedule=wsd", "train.decay_steps=1", "train.warmup_steps=100"}, "set train.warmup_steps below 100 or"},
    {{"train.decay_steps=5"},
     "train.decay_steps = 5 is of train.schedule = \"wsd\", but train.schedule = \"cosine\"; set"},
    {{"train.schedule=constant", "train.decay_steps=5"},
     "train.schedule = \"constant\"; set train.schedule to \"wsd\""},
    {{"data.sequence_length=100", "data.global_batch_tokens=1050"},
     "data.global_batch_tokens = 1050 is no whole number of sequences of data.sequence_length = 100 tokens; set it to "
     "1000 or 1100"},
    {{"data.sequence_length=100", "data.global_batch_tokens=99"}, "tokens; set it to 100"},
    {{"data.sequence_length=1", "data.global_batch_tokens=2147483648"},
     "more than the 2147483647 of a step; set it to"},
    {{"train.tokens=4611686018427387904"},
     "train.tokens = 4611686018427387904 is 1125899906842624 steps of 4096 tokens"},
    {{"data.global_batch=4", "data.global_batch_tokens=1024"},
     "data.global_batch = 4 and data.global_batch_tokens = 1024 are both given"},
    {{"train.tokens=1024", "train.steps=4"}, "train.steps = 4 and train.tokens = 1024 are both given"},
    {{"data.path=\"\""}, "data.path is empty"},
    {{"run.directory=''"}, "run.directory is empty"},
    {{"run.name=''"}, "run.name = \"\" does not name a directory of its own"},
    {{"run.name=.hidden"}, "run.name = \".hidden\" does not name a directory"},
    {{"run.name=" + std::string(201, 'a')}, "use 1 to 200 letters"},
    {{"run.name=a/b"}, "run.name = \"a/b\" does not name a directory"},
    {{"parallel.in_process_ranks=3", "parallel.cp=4"}, "parallel.in_process_ranks = 3 differs from parallel.dp * pa"},
    {{"parallel.in_process_ranks=1", "parallel.transport=mpi"},
     "transport mpi (parallel.transport, --transport) joins processes"},
    {{"parallel.in_process_ranks=1", "parallel.transport=nodes"},
     "transport nodes (parallel.transport, --transport) joins processes"},
    {{"train.validate_every=5", "data.validation_fraction=0"}, "train.validate_every = 5 asks for validation"},
    {{"train.steps=1000000000", "data.global_batch=2000000000", "data.sequence_length=100"}, "can be counted"},
};

TEST(Config, ContradictionsAreNamedWithAWayOut) {
  for (const Contradiction& c : kContradictions) {
    const std::string message = error_of([&] { from_overrides(c.overrides); });
    expect_in(c.expected, message, c.overrides[0]);
    expect_in(" with the overrides: ", message, c.overrides[0]);
  }
  expect_in("a.toml: model.heads = 6 is not", error_of_text(kGood + "[model]\nheads = 6\n"), "model.heads");
  expect_in("a.toml: train.steps = 9 and train.tokens = 9 are both given",
            error_of_text(kGood + "[train]\nsteps = 9\ntokens = 9\n"), "steps and tokens");
  expect_in("a.toml: data.path is empty", error_of_text(""), "empty file");
}

TEST(Config, FilesThatAreNoConfigsAreNamed) {
  const auto error_of_file = [](const std::string& path) { return error_of([&] { read_config(path, {}); }); };
  const std::string missing = temporary_path("missing.toml");
  EXPECT_EQ(error_of_file(missing), "\"" + missing + "\" does not exist; give the path of a TOML config");
  expect_in("\"\" does not exist", error_of_file(""), "empty path");
  expect_in(" is a directory; give the path of a TOML config in it", error_of_file(testing::TempDir()), "directory");
  const TemporaryFile file(kGood);
  expect_in(" cannot be opened: Not a directory", error_of_file(file.path + "/b.toml"), "path through a file");
  expect_in(" cannot be opened: File name too long", error_of_file(std::string(5000, 'a')), "long path");
  if (std::filesystem::exists("/proc/self/mem"))
    expect_in("/proc/self/mem cannot be read: Input/output error", error_of_file("/proc/self/mem"), "unreadable");
}

TEST(Config, FilesMayHoldOneMebibyte) {
  const std::string largest = kGood + std::string((1 << 20) - kGood.size(), '#');
  EXPECT_EQ(from_overrides({}, largest).data.path, "x");
  expect_in(" is larger than 1 MiB", error_of([&] { from_overrides({}, largest + "#"); }), "large file");
  expect_in("a.toml is larger than 1 MiB", error_of_text(largest + "#"), "large text");
}

TEST(Config, DeepNestingIsRefusedAndNotRecursedInto) {
  std::string dotted, braces;
  for (int i = 0; i < 200000; ++i) dotted += "a.", braces += "{a=";
  expect_in("a.toml:2:2002: not valid TOML: more than 1000 dots", error_of_text("\n" + dotted + "a = 1"), "dotted key");
  expect_in("a.toml:1:2003: not valid TOML: more than 1000 dots", error_of_text("[" + dotted + "a]"), "dotted header");
  expect_in("takes an integer", error_of_override("--train.steps={" + dotted + "a=1}"), "dotted override");
  expect_in("not valid TOML: ", error_of_text("a = " + std::string(500000, '[')), "brackets");
  expect_in("not valid TOML: ", error_of_text("a = " + braces), "braces");
  const std::string path = dotted.substr(0, 4000);
  EXPECT_EQ(parse_config("[data] # " + dotted + "\npath = '" + path + "'", "a.toml").data.path, path);
}

template <class... Values>
std::string row(const Values&... values) {
  return concat(concat(" ", values)...);
}

TEST(Config, EveryKeyReachesItsMember) {
  const Config c = parse_config(kEveryValue, "a.toml");
  EXPECT_EQ(c.run.name, "my-run_2.b");
  EXPECT_EQ(c.run.directory, "/tmp/some \"runs\"\\x");
  EXPECT_EQ(c.data.path, "n\u00e4me\x01\n\t#.txt");
  EXPECT_EQ(row(c.data.tokenizer, c.parallel.placement, c.parallel.transport, c.parallel.isa, c.model.tie_embeddings),
            " bytes striped in-process avx2 0");
  EXPECT_EQ(row(c.train.mlp_tile, c.train.recompute, c.train.dtype), " 77 block bf16");
  EXPECT_EQ(row(c.data.format, c.data.end_of_document, c.data.document_mask, c.data.restart_positions),
            " tokens 50256 0 0");
  EXPECT_EQ(row(c.run.seed, c.model.layers, c.model.width, c.model.heads, c.model.kv_heads, c.model.head_dim,
                c.model.ffn, c.model.vocab, c.model.rope_base, c.model.norm_epsilon),
            " 4611686018427387904 3 96 6 2 24 100 50257 500000 1e-06");
  EXPECT_EQ(row(c.data.sequence_length, c.data.global_batch, c.data.validation_fraction, c.parallel.dp, c.parallel.cp,
                c.parallel.threads, c.parallel.in_process_ranks, c.parallel.timeout_seconds),
            " 2147483648 7 0.1 2 3 5 6 1.5");
  EXPECT_EQ(row(c.train.steps, c.train.micro_batch, c.train.learning_rate, c.train.min_learning_rate,
                c.train.warmup_steps, c.train.schedule, c.train.decay_steps, c.train.beta1, c.train.beta2,
                c.train.epsilon, c.train.weight_decay, c.train.max_grad_norm, c.train.loss_tile, c.train.validate_every,
                c.train.log_every, c.checkpoint.every, c.checkpoint.keep),
            " 1000 8 0.3 0.02 11 wsd 17 0 0.98 1e-10 0 0.25 16 9 4 13 2");
}

TEST(Config, OverridesBeatTheFileAndTheFileBeatsDefaults) {
  const std::string text = kGood + "[train]\nsteps = 50\nwarmup_steps = 5\n";
  EXPECT_EQ(row(from_overrides({}, text).train.steps, from_overrides({}, text).train.micro_batch), " 50 1");
  EXPECT_EQ(from_overrides({"--train.steps=60"}, text).train.steps, 60);
  EXPECT_EQ(from_overrides({"--train.steps=60", "--train.steps=0x46"}, text).train.steps, 70);
  EXPECT_EQ(from_overrides({"--train.steps=60"}, text).train.warmup_steps, 5);
  EXPECT_EQ(from_overrides({"data.path=y"}, "").data.path, "y") << "an override may mend what a file lacks";
}

TEST(Config, OverridesTakeValuesAsShellsHandThemOver) {
  const auto path = [](const std::string& value) { return from_overrides({"--data.path=" + value}).data.path; };
  EXPECT_EQ(path("some dir/a=b #1.txt"), "some dir/a=b #1.txt");
  EXPECT_EQ(path("\"quoted \\u00e4 # \\\\\""), "quoted \u00e4 # \\");
  EXPECT_EQ(path("'liter\\al'"), "liter\\al");
  EXPECT_EQ(path("2024-05-01"), "2024-05-01");
  EXPECT_EQ(from_overrides({"-train.learning_rate=1"}).train.learning_rate, 1.0);
  EXPECT_FALSE(from_overrides({"--model.tie_embeddings=false"}).model.tie_embeddings);
}

TEST(Config, EveryBoundHoldsAndIsItselfAllowed) {
  Config config;
  for (const ConfigField& field : config_fields(config)) {
    if (std::holds_alternative<bool*>(field.value) || std::holds_alternative<std::string*>(field.value)) continue;
    const auto problem_of = [&](double value, int64_t whole_step) {
      if (const auto* integer = std::get_if<int64_t*>(&field.value)) **integer = int64_t(value) + whole_step;
      if (const auto* number = std::get_if<double*>(&field.value))
        **number = whole_step == 0 ? value : std::nextafter(value, whole_step * INFINITY);
      return value_problem(field);
    };
    EXPECT_LT(field.least, field.most) << field.name();
    EXPECT_EQ(problem_of(field.least, 0), "");
    EXPECT_EQ(problem_of(field.most, 0), "");
    expect_in(field.name() + " = ", problem_of(field.least, -1), field.name());
    expect_in(" is out of range; it must be from ", problem_of(field.most, 1), field.name());
  }
}

TEST(Config, BoundsHoldForConfigsMadeInCodeToo) {
  Config config = from_overrides({});
  config.model.heads = 0;
  expect_in("model.heads = 0 is out of range", error_of([&] { complete_and_validate(config); }), "heads");
}

TEST(Config, DerivedWidths) {
  const auto model = [](const std::vector<std::string>& overrides) { return from_overrides(overrides).model; };
  EXPECT_EQ(model({}).head_dim, 64);  // 256 / 4
  EXPECT_EQ(model({}).ffn, 704);      // 682.67 -> 11 * 64
  EXPECT_EQ(model({"model.width=192", "model.heads=8"}).head_dim, 24);
  EXPECT_EQ(model({"model.width=192", "model.heads=8"}).ffn, 512);                      // exactly 8/3 * 192
  EXPECT_EQ(model({"model.width=200", "model.heads=5", "model.kv_heads=1"}).ffn, 576);  // 533.33 -> 9 * 64
  EXPECT_EQ(model({"model.head_dim=32", "model.ffn=1"}).ffn, 1);
  EXPECT_EQ(model({"model.width=100", "model.head_dim=8"}).head_dim, 8) << "width need not be heads * head_dim";
}

TEST(Config, TokensBecomeSequencesAndSteps) {
  const Config c = from_overrides({"data.sequence_length=100", "data.global_batch_tokens=700", "train.tokens=7001"});
  EXPECT_EQ(row(c.data.global_batch, c.data.global_batch_tokens, c.train.steps, c.train.tokens), " 7 0 11 0");
  const Config again = parse_config(config_text(c), "config.toml");
  EXPECT_EQ(differing_keys(c, again, kSections), std::vector<std::string>{});
  const auto steps = [](const std::string& tokens) {
    return from_overrides({"data.sequence_length=100", "data.global_batch=7", "train.tokens=" + tokens}).train.steps;
  };
  EXPECT_EQ(row(steps("1"), steps("699"), steps("700"), steps("701"), steps("1400")), " 1 1 1 2 2");
  EXPECT_EQ(steps("0"), 100) << "0: the default of train.steps";
  // An override beats the file's other way.
  EXPECT_EQ(from_overrides({"train.tokens=8192"}, kGood + "[train]\nsteps = 9\n").train.steps, 2);
  EXPECT_EQ(from_overrides({"train.steps=9"}, kGood + "[train]\ntokens = 8192\n").train.steps, 9);
  EXPECT_EQ(from_overrides({"data.global_batch=3", "data.global_batch_tokens=0"}).data.global_batch, 3);
  EXPECT_EQ(from_overrides({"train.steps=3", "train.tokens=0"}).train.steps, 3);
  const Config most = from_overrides(  // as many tokens as a step may have, in one step
      {"data.sequence_length=2147483648", "data.global_batch_tokens=4611686016279904256", "train.steps=1",
       "train.micro_batch=1"});
  EXPECT_EQ(row(most.data.global_batch), " 2147483647");
}

TEST(Config, LegalThoughUnusual) {
  EXPECT_EQ(from_overrides({"train.micro_batch=64"}).train.micro_batch, 64) << "micro_batch above global_batch";
  EXPECT_EQ(from_overrides({"train.warmup_steps=101"}).train.warmup_steps, 101) << "a short try of a long run";
  EXPECT_EQ(from_overrides({"train.schedule=wsd", "train.decay_steps=90"}).train.decay_steps, 90) << "nothing stable";
  EXPECT_EQ(from_overrides({"parallel.dp=8"}).parallel.dp, 8) << "more rings than sequences";
  EXPECT_EQ(from_overrides({"parallel.cp=3", "parallel.in_process_ranks=3"}).parallel.in_process_ranks, 3);
  EXPECT_EQ(from_overrides({}, "\xEF\xBB\xBF[data]\r\npath = \"x\"\r\n").data.path, "x") << "BOM and CRLF";
  EXPECT_EQ(from_overrides({}, "data = {path = \"x\"}\ntrain.steps = 70").train.steps, 70) << "other TOML spellings";
}

TEST(Config, TextReadsBackEqual) {
  const Config config = parse_config(kEveryValue, "a.toml");
  const std::string text = config_text(config);
  const Config again = parse_config(text, "config.toml");
  EXPECT_EQ(differing_keys(config, again, kSections), std::vector<std::string>{});
  EXPECT_EQ(config_text(again), text);
  for (const std::string line : {"[model]", "heads = 6", "learning_rate = 0.3", "rope_base = 500000.0",
                                 "tie_embeddings = false", "path = \"n\u00e4me\\u0001\\n\\t#.txt\"", "epsilon = 1e-10"})
    expect_in("\n" + line + "\n", text, "config_text");
}

TEST(Config, DoublesReadBackToTheLastBit) {
  std::mt19937_64 engine(3);
  Config config = from_overrides({});
  for (int i = 0; i < 2000; ++i) {
    const double mantissa = std::uniform_real_distribution<double>(1.0, 2.0)(engine);
    config.train.weight_decay = std::ldexp(mantissa, -int(engine() % 1080));  // down to denormal numbers and 0
    config.train.max_grad_norm = std::ldexp(mantissa, int(engine() % 29));
    const Config again = parse_config(config_text(config), "config.toml");
    EXPECT_EQ(std::bit_cast<uint64_t>(again.train.weight_decay), std::bit_cast<uint64_t>(config.train.weight_decay));
    EXPECT_EQ(std::bit_cast<uint64_t>(again.train.max_grad_norm), std::bit_cast<uint64_t>(config.train.max_grad_norm));
  }
}

TEST(Config, DifferingKeysAreNamedOneByOne) {
  const Config defaults, other = parse_config(kEveryValue, "a.toml");
  EXPECT_EQ(differing_keys(defaults, other, kSections).size(), num_keys() - 3) << "all but tokenizer and two zeros";
  using Names = std::vector<std::string>;
  EXPECT_EQ(differing_keys(defaults, other, {"data.path", "checkpoint"}),
            (Names{"data.path", "checkpoint.every", "checkpoint.keep"}));
  Config changed = defaults;
  changed.train.beta1 = std::nextafter(changed.train.beta1, 1.0);
  EXPECT_EQ(differing_keys(defaults, changed, {"train", "train.beta1"}), Names{"train.beta1"});
  EXPECT_EQ(differing_keys(defaults, changed, {"model", "data", "run.seed"}), Names{});
  EXPECT_THROW(differing_keys(defaults, changed, {"modle"}), std::logic_error);
}

TEST(Config, ReferenceDescribesEveryKey) {
  Config defaults;
  const std::string page = config_reference();
  EXPECT_EQ(config_fields(defaults).size(), num_keys());
  for (const ConfigField& field : config_fields(defaults)) {
    const size_t section = page.find("\n## [" + field.section + "]\n");
    ASSERT_NE(section, std::string::npos) << field.section;
    const std::string rows = page.substr(section + 1, page.find("\n## ", section + 1) - section - 1);
    const std::string rest = " | `" + value_text(field) + "` | " + allowed_text(field) + " | " + field.help + " |\n";
    expect_in("\n| `" + field.key + "` | ", rows, field.name());
    expect_in(rest, rows, field.name());
    EXPECT_GE(field.help.size(), 15u) << field.name();
    EXPECT_EQ(field.help.back(), '.') << field.name();
    EXPECT_EQ(field.help.find_first_of("|\n"), std::string::npos) << "would break the table: " << field.name();
  }
  expect_in("Generated by `annulus train --config-reference`", page, "page");
  expect_in("\n| `learning_rate` | number | `0.001` | 0 to 100 | ", page, "page");
}

TEST(Nearest, EditDistanceByHand) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("steps", "stesp"), 1u) << "a swap of neighbours is one mistake";
}

TEST(Nearest, NamesWhatWasMeantOrNothing) {
  const std::vector<std::string> names = {"steps", "warmup_steps", "learning_rate", "dp", "heads"};
  const std::vector<std::string> given = {"step", "learning-rates", "warm", "tp", "wa", "optimizer", "stabs", ""};
  const std::vector<std::string> meant = {"steps", "learning_rate", "warmup_steps", "dp", "", "", "", ""};
  for (size_t i = 0; i < given.size(); ++i) EXPECT_EQ(nearest(given[i], names), meant[i]) << given[i];
  EXPECT_EQ(nearest("steps_", {"steps", "steps_x", "stepsx"}), "steps") << "the first of equals";
}

}  // namespace
}  // namespace annulus
