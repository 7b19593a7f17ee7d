// annulus: reads the command line and turns whatever goes wrong into one message and one exit code.
#include <fmt/format.h>
#include <malloc.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <functional>
#include <iostream>
#include <thread>

#include "comm/agree.h"
#include "kernels/cpu/isa.h"
#include "launch/bench_commands.h"
#include "launch/capabilities_page.h"
#include "launch/commands.h"
#include "launch/rank_env.h"
#include "launch/versions.h"
#include "runtime/config_fields.h"
#include "runtime/config_file.h"
#include "runtime/core/capabilities.h"
#include "runtime/core/log.h"
#include "runtime/nearest.h"
#include "runtime/version.h"

namespace annulus {
namespace {

using Work = std::function<void(Group&)>;

std::string isa_names() {
  std::string names;
  for (const std::string& name : cpu::supported_isas()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

// "auto, shared, mpi": what the command supports of it.
std::string values_of(const std::string& axis, Command command = Command::kAttention) {
  return fmt::format("{}", fmt::join(supported_values(axis, command), ", "));
}

// CLI::Range lets NaN through.
CLI::Validator number_in(double least, double most) {
  return {[=](std::string& text) {
            double value = 0.0;
            const bool ok = CLI::detail::lexical_cast(text, value) && least <= value && value <= most;
            return ok ? std::string() : fmt::format("Value {} not in range {} to {}", text, least, most);
          },
          fmt::format("FLOAT in [{} - {}]", least, most)};
}

void add_device(CLI::App& app, DeviceOptions& options, Command command) {
  app.add_option("--device", options.device, values_of("device", command))->capture_default_str();
  app.add_option("--cuda-plugin", options.cuda_plugin,
                 "Of --device=cuda: the path of libannulus_cuda.so; otherwise it is looked for beside the program");
}

void add_train(CLI::App& app, Work& command) {
  auto* sub =
      app.add_subcommand("train", "Train a model: the run described by CONFIG.toml, on the ranks it is started with");
  auto options = std::make_shared<TrainOptions>();
  auto reference = std::make_shared<bool>(false);
  sub->add_option("config", options->config, "The run, in TOML (docs/CONFIG.md lists every key)");
  sub->add_option("--resume", options->resume,
                  "latest: go on from the newest checkpoint of the run; or a checkpoint's path");
  sub->add_flag("--print-config", options->print_config,
                "Print the whole config, defaults and overrides included, and stop");
  sub->add_flag("--config-reference", *reference, "Print docs/CONFIG.md and stop");
  for (const auto& [flag, key] : {std::pair{"--transport", "parallel.transport"},
                                  {"--in-process-ranks", "parallel.in_process_ranks"},
                                  {"--isa", "parallel.isa"},
                                  {"--dtype", "train.dtype"},
                                  {"--threads", "parallel.threads"}})
    sub->add_option_function<std::string>(
        flag,
        [options, key = std::string(key)](const std::string& value) {
          options->overrides.push_back("--" + key + "=" + value);
        },
        "The same as --" + std::string(key));
  add_device(*sub, options->device, Command::kTrain);
  sub->allow_extras();
  sub->footer(
      "Any key of the config can be given as --section.key=value:\n"
      "  launch/run.sh -np 4 -- train configs/quickstart.toml --train.steps=200 --run.name=short");
  sub->callback([=, &command] {
    for (const std::string& extra : sub->remaining()) options->overrides.push_back(extra);
    command = [=](Group& processes) {
      if (*reference) {
        if (processes.rank() == 0) std::cout << config_reference();
        return;
      }
      agree(processes, [&] { require(!options->config.empty(), "train needs a config: annulus train CONFIG.toml"); });
      train(*options, processes);
    };
  });
}

void add_plan(CLI::App& app, Work& command) {
  auto* sub = app.add_subcommand(
      "plan",
      "What a run will take on N ranks: memory by category, work, bytes on the wire, the longest sequence that fits");
  auto o = std::make_shared<PlanOptions>();
  sub->add_option("config", o->config, "The run, in TOML (docs/CONFIG.md lists every key)")->required();
  sub->add_option("--ranks", o->ranks, "Ranks, of which parallel.dp rings are made; 0: parallel.dp x parallel.cp")
      ->capture_default_str()
      ->check(CLI::Range(0, 65536));
  sub->add_option("--ranks-per-node", o->ranks_per_node, "Ranks of each node, which share its memory; 0: all of them")
      ->capture_default_str()
      ->check(CLI::Range(0, 65536));
  sub->add_option("--memory", o->memory_gib, "GiB of each rank; 0: what this machine has left")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1e9));
  sub->allow_extras();
  sub->footer("Any key of the config can be given as --section.key=value, as with train. Nothing is run.");
  sub->callback([=, &command] {
    o->overrides = sub->remaining();
    command = [=](Group& processes) { plan(*o, processes); };
  });
}

void add_attention(CLI::App& app, Work& command) {
  auto* sub = app.add_subcommand(
      "attention",
      "Ring attention, forward and backward, on tensors from a file: check our numbers with your own tools");
  auto o = std::make_shared<AttentionCommand>();
  sub->add_option("in", o->in,
                  "HDF5: q (B,S,H,D), k, v (B,Sk,K,D), dout (B,S,H,D), float32; optional mask_slices int64 (n,6); "
                  "optional root attribute softmax_scale")
      ->required();
  sub->add_option(
         "out", o->out,
         "HDF5 to write: out, lse (B,H,S), dq, dk, dv in global token order, and root attributes about the run")
      ->required();
  sub->add_option("--placement", o->placement, values_of("placement"))->capture_default_str();
  sub->add_option("--dtype", o->dtype, values_of("dtype"))->capture_default_str();
  add_device(*sub, o->device, Command::kAttention);
  sub->add_option("--transport", o->transport, values_of("transport"))->capture_default_str();
  sub->add_option("--in-process-ranks", o->in_process_ranks, "Run this many ranks as threads of one process")
      ->check(CLI::Range(0, 65536));
  sub->add_option("--isa", o->isa, "auto, or one of: " + isa_names())->capture_default_str();
  sub->add_option("--threads", o->threads, "Threads of each rank; 0: cores / ranks")->check(CLI::Range(0, 65536));
  sub->add_option("--repeat", o->repeat, "Run so many times and report the median seconds")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  sub->add_option("--timeout-seconds", o->timeout_seconds, "Give up waiting for another rank after this long")
      ->capture_default_str()
      ->check(number_in(0.001, 1e9));
  sub->callback([=, &command] { command = [=](Group& processes) { attention(*o, processes); }; });
}

void add_inspect(CLI::App& app, Work& command) {
  auto* sub = app.add_subcommand("inspect", "What a checkpoint holds, and whether it is intact (one rank)");
  auto o = std::make_shared<InspectOptions>();
  sub->add_option("checkpoint", o->checkpoint, "A checkpoint directory, or a run directory: its newest checkpoint")
      ->required();
  sub->add_option("--json", o->json, "Also write it all to this file");
  sub->footer("The last line is 'intact' (exit code 0) or says what is damaged (66).");
  sub->callback([=, &command] { command = [=](Group& processes) { inspect(*o, processes); }; });
}

void add_report(CLI::App& app, Work& command) {
  auto* sub = app.add_subcommand("report", "One page about a run: loss, speed, the ring at work, memory (one rank)");
  auto o = std::make_shared<ReportOptions>();
  sub->add_option("run", o->run, "A run directory: runs/NAME")->required();
  sub->add_option("--output", o->output, "The page to write; otherwise report.html in the run directory");
  sub->footer(
      "train writes the page at the end of a run; this makes it at any time, also while the run goes on, and from a "
      "copy\n"
      "of the directory on another machine: config.toml, metrics.jsonl, machine.json and trace.json are all it reads.\n"
      "It is one HTML file, which any browser shows without a network or scripts.");
  sub->callback([=, &command] { command = [=](Group& processes) { report(*o, processes); }; });
}

void add_tokenizer_train(CLI::App& app, Work& command) {
  auto* sub = app.add_subcommand("train", "Learn a SentencePiece model from a text");
  auto o = std::make_shared<TokenizerTrainOptions>();
  sub->add_option("text", o->text, "The text to learn from: all of it is read")->required();
  sub->add_option("model", o->model, "The file to write, NAME.model")->required();
  sub->add_option("--vocab", o->vocab, "Tokens it shall have, 256 single bytes among them")
      ->capture_default_str()
      ->check(CLI::Range(258, 1 << 24));
  sub->add_option("--type", o->type, "bpe: pairs are merged, most frequent first; unigram: the likeliest cut of a text")
      ->capture_default_str()
      ->check(CLI::IsMember({"bpe", "unigram"}));
  sub->add_option("--format", o->format, "text; jsonl: the \"text\" of each line; auto: by the file's name")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "text", "jsonl"}));
  sub->add_flag("--force", o->force, "Replace the file if it exists");
  sub->footer(
      "Text is never altered: what the tokens stand for, one behind the other, is the text, byte for byte.\n"
      "  annulus tokenizer train data/kjv.txt data/kjv.model --vocab=4096\n"
      "  launch/run.sh -np 4 -- train configs/quickstart.toml --data.tokenizer=data/kjv.model --model.vocab=4096");
  sub->callback([=, &command] { command = [=](Group& processes) { tokenizer_train(*o, processes); }; });
}

void add_tokenizer_show(CLI::App& app, Work& command) {
  auto* sub = app.add_subcommand("show", "What a SentencePiece model has, and how it cuts a text");
  auto o = std::make_shared<TokenizerShowOptions>();
  sub->add_option("model", o->model, "The model's file")->required();
  sub->add_option("--text", o->text, "Also show the tokens of this text");
  sub->callback([=, &command] { command = [=](Group& processes) { tokenizer_show(*o, processes); }; });
}

void add_tokenizer(CLI::App& app, Work& command) {
  auto* sub = app.add_subcommand("tokenizer", "Make a SentencePiece model from a text, or look at one (one rank)");
  sub->require_subcommand(1);
  add_tokenizer_train(*sub, command);
  add_tokenizer_show(*sub, command);
}

void add_sample(CLI::App& app, Work& command) {
  auto* sub = app.add_subcommand("sample", "Some text from a trained model (one rank)");
  auto o = std::make_shared<SampleOptions>();
  sub->add_option("checkpoint", o->checkpoint, "A checkpoint directory, or a run directory: its newest checkpoint")
      ->required();
  sub->add_option("--prompt", o->prompt, "The text to go on from")->required();
  sub->add_option("--length", o->length, "Tokens to write")->capture_default_str()->check(CLI::Range(1, 1 << 24));
  sub->add_option("--temperature", o->temperature, "0: always the likeliest token; 1: as the model believes")
      ->capture_default_str()
      ->check(number_in(0.0, 100.0));
  sub->add_option("--top-k", o->top_k, "Only among the k likeliest tokens; 0: all")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  sub->add_option("--seed", o->seed, "The same seed writes the same text")->capture_default_str();
  sub->add_option("--isa", o->isa, "auto, or one of: " + isa_names())->capture_default_str();
  sub->add_option("--threads", o->threads, "Threads; 0: all cores")->capture_default_str()->check(CLI::Range(0, 65536));
  sub->callback([=, &command] { command = [=](Group& processes) { sample(*o, processes); }; });
}

std::string version_page(const std::string& cuda_plugin) {
  return fmt::format("annulus {}\ninstruction sets of this CPU: {}\nlibraries: {}\n{}", version_text(), isa_names(),
                     library_versions(), device_page(cuda_plugin));
}

// The path of the plugin stands first: options are read in the order in which they are added.
void add_version(CLI::App& app) {
  auto cuda_plugin = std::make_shared<std::string>();
  CLI::Option* path = app.add_option("--cuda-plugin", *cuda_plugin, "Of --version: the path of libannulus_cuda.so");
  path->needs(app.set_version_flag("--version", [cuda_plugin] { return version_page(*cuda_plugin); }));
}

// All ranks come here. Rank 0 speaks for them; the others stay until it has, because a launcher that sees one process
// end with an error ends the rest, and whatever they have not said yet.
void say_for_all(const AgreedError& error, Group& group) {
  if (group.rank() == 0) std::cerr << "annulus: " << error.what() << std::endl;
  if (group.size() == 1) return;
  try {
    group.barrier("the message of rank 0");
  } catch (const UserError&) {  // a rank that is gone need not hear it
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the launcher passes the message on
}

// Runs the command on all processes; whatever it throws becomes one message and the exit code.
int run(const Work& command) {
  std::unique_ptr<Processes> processes;
  auto fail_alone = [&](const char* message, ExitCode code) {
    log::error(message);
    // Whoever hangs, all wait for it in a chain: those whose time is up a little later name the next link.
    if (code == ExitCode::kPeer) std::this_thread::sleep_for(std::chrono::seconds(1));
    if (processes) processes->abort(static_cast<int>(code));
    return static_cast<int>(code);
  };
  try {
    processes = std::make_unique<Processes>();
    command(processes->group());
    return 0;
  } catch (const AgreedError& error) {
    say_for_all(error, processes->group());
    return static_cast<int>(error.code());
  } catch (const UserError& error) {
    return fail_alone(error.what(), error.code());
  } catch (const std::bad_alloc&) {
    return fail_alone("out of memory; use shorter sequences, fewer ranks on a node, or more nodes", ExitCode::kMemory);
  } catch (const std::exception& error) {
    return fail_alone(error.what(), ExitCode::kOther);
  }
}

// What CLI11 would take for something else: a mistyped command, and an option that is given nothing.
std::string problem_of(int argc, char** argv, const std::vector<std::string>& commands) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("--") && word.ends_with("=")) return "'" + word + "' gives no value; write one behind the =";
  }
  for (const auto& [above, below] :
       {std::pair("bench", std::vector<std::string>{"attention", "gemm", "ops", "ring", "step"}),
        std::pair("tokenizer", std::vector<std::string>{"train", "show"})})
    if (argc > 2 && argv[1] == std::string(above) && argv[2][0] != '-' &&
        std::find(below.begin(), below.end(), argv[2]) == below.end())
      return fmt::format("there is no command '{0} {1}'; there is: annulus {0} {2}", above, argv[2],
                         fmt::join(below, ", annulus " + std::string(above) + " "));
  if (argc < 2 || argv[1][0] == '-' || std::find(commands.begin(), commands.end(), argv[1]) != commands.end())
    return {};
  const std::string near = nearest(argv[1], commands);
  return fmt::format("there is no command '{}'{}; the commands are {}", argv[1],
                     near.empty() ? "" : ", did you mean " + near + "?", fmt::join(commands, ", "));
}

int main_of(int argc, char** argv) {
  // Left alone, malloc keeps what was freed as soon as one large block was: a run would hold more than it announces.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error of that write, not the end of the run
  CLI::App app("annulus trains transformers on sequences too long for one device, by ring attention.", "annulus");
  add_version(app);
  const auto add_page = [&](const char* flag, std::string (*page)(), const char* what) {
    app.add_flag_callback(
        flag, [page] { throw CLI::CallForVersion(page(), 0); }, what);
  };
  add_page("--capabilities", capabilities_page, "Print docs/CAPABILITIES.md: what goes with what");
  add_page("--capabilities-json", capabilities_json, "The same for programs");
  app.require_subcommand(1);
  app.footer("Start several ranks with launch/run.sh -np N -- COMMAND ...  Exit codes are listed in the README.");
  Work command;
  add_train(app, command);
  add_plan(app, command);
  add_attention(app, command);
  add_bench(app, command);
  add_inspect(app, command);
  add_report(app, command);
  add_tokenizer(app, command);
  add_sample(app, command);
  std::string problem =
      problem_of(argc, argv, {"train", "plan", "attention", "bench", "inspect", "report", "tokenizer", "sample"});
  try {
    if (problem.empty()) app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return rank_of_environment() == 0 ? app.exit(help) : 0;
  } catch (const CLI::Error& error) {
    problem = std::string(error.what()) + "; see annulus --help";
  }
  if (!problem.empty()) command = [&](Group&) { require_alike(ExitCode::kUsage, false, problem); };
  return run(command);
}

}  // namespace
}  // namespace annulus

int main(int argc, char** argv) { return annulus::main_of(argc, argv); }
