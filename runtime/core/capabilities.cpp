#include "runtime/core/capabilities.h"

#include <algorithm>

#include "runtime/core/error.h"

namespace annulus {
namespace {

constexpr bool kYes = true, kNo = false;

const CapabilityAxis& axis_of(const std::string& name) {
  const std::vector<CapabilityAxis>& axes = capability_axes();
  const auto found = std::find_if(axes.begin(), axes.end(), [&](const auto& axis) { return axis.name == name; });
  invariant(found != axes.end(), "no capability axis is named ", name);
  return *found;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i)
    text += concat(i == 0 ? "" : i + 1 == names.size() ? " or " : ", ", names[i]);
  return text;
}

}  // namespace

const std::vector<CapabilityAxis>& capability_axes() {
  static const std::vector<CapabilityAxis> kAxes = {
      {"mask",
       "train: data.format, data.document_mask; attention: mask_slices of the file",
       {{"causal", "every token sees itself and all before it", kYes, kYes},
        {"documents", "causal inside each document", kYes, kYes},
        {"window", "causal, and at most so many tokens back", kNo, kYes},
        {"sinks", "a window, and the first tokens", kNo, kYes},
        {"prefix", "causal, and the whole beginning", kNo, kYes},
        {"full", "every token sees every other", kNo, kYes},
        {"cross", "queries see the keys of another sequence", kNo, kYes}}},
      {"placement",
       "parallel.placement, --placement",
       {{"contiguous", "each rank holds neighbouring tokens", kYes, kYes},
        {"zigzag", "an early and a late piece each: equal causal work", kYes, kYes},
        {"striped", "every P-th token", kYes, kYes}}},
      {"transport",
       "parallel.transport, --transport",
       {{"auto", "the fastest that reaches all ranks of a ring", kYes, kYes},
        {"shared", "blocks are read where they lie, in memory that all ranks of a node map", kYes, kYes},
        {"nodes", "shared inside a node, messages between nodes", kYes, kYes},
        {"mpi", "messages", kYes, kYes},
        {"in-process", "ranks are threads of one process", kYes, kYes},
        {"nccl", "it joins GPUs, and this version computes on CPUs", kNo, kNo}}},
      {"ranks",
       "how the program is started; parallel.in_process_ranks, --in-process-ranks",
       {{"processes", "started by mpirun or srun", kYes, kYes}, {"threads", "of one process", kYes, kYes}}},
      {"dtype",
       "train.dtype, --dtype",
       {{"f32", "single precision", kYes, kYes},
        {"bf16", "bfloat16; sums, gradients of weights and their masters in single precision", kYes, kYes},
        {"f16", "its range is too small to train in without scaling the loss", kNo, kNo}}},
      {"device",
       "--device",
       {{"cpu", "any processor", kYes, kYes},
        {"cuda", "there are kernels for GPUs, but this version trains on CPUs", kNo, kNo}}},
      {"isa",
       "parallel.isa, --isa",
       {{"auto", "the best that the processor has", kYes, kYes},
        {"plain", "C++ for any processor", kYes, kYes},
        {"avx2", "x86 with AVX2 and FMA", kYes, kYes},
        {"avx512", "x86 with AVX-512 F, BW, DQ and VL", kYes, kYes},
        {"avx512_bf16", "x86 with AVX-512 as above and its products of bf16", kYes, kYes}}},
      {"heads",
       "model.heads, model.kv_heads; shapes of the file",
       {{"mha", "as many key/value heads as query heads", kYes, kYes},
        {"gqa", "several query heads to each key/value head", kYes, kYes},
        {"mqa", "one key/value head", kYes, kYes}}},
      {"length",
       "data.sequence_length; shapes of the file",
       {{"even", "a multiple of 2 x ranks", kYes, kYes},
        {"odd", "divides by nothing", kYes, kYes},
        {"short", "fewer tokens than ranks", kYes, kYes}}},
      {"batch",
       "train.micro_batch; shapes of the file",
       {{"one", "one sequence at a time", kYes, kYes}, {"several", "several sequences at a time", kYes, kYes}}},
      {"data",
       "data.format",
       {{"text", "one document", kYes, kNo},
        {"jsonl", "a document in each line", kYes, kNo},
        {"tokens", "uint16 ids, as of nanoGPT and llm.c", kYes, kNo},
        {"megatron", ".bin and .idx", kYes, kNo}}},
      {"tokenizer",
       "data.tokenizer",
       {{"bytes", "every byte of a text is a token", kYes, kNo},
        {"sentencepiece", "the pieces of a SentencePiece model", kYes, kNo}}},
      {"positions",
       "data.restart_positions",
       {{"restart", "begin anew in each document, where several have masks of their own", kYes, kNo},
        {"go on", "over the whole sequence", kYes, kNo}}},
      {"rings",
       "parallel.dp",
       {{"one", "all ranks share every sequence", kYes, kNo},
        {"several", "each ring of ranks has sequences of its own", kYes, kNo}}},
      {"recompute",
       "train.recompute",
       {{"none", "backward reads what forward kept", kYes, kNo},
        {"mlp", "the MLP's activations are computed again", kYes, kNo},
        {"block", "all of a block but its attention", kYes, kNo}}},
      {"schedule",
       "train.schedule",
       {{"cosine", "down along a half cosine", kYes, kNo},
        {"linear", "down along a line", kYes, kNo},
        {"wsd", "constant, then a line", kYes, kNo},
        {"constant", "after the warm-up", kYes, kNo}}},
      {"embeddings",
       "model.tie_embeddings",
       {{"tied", "the output layer shares the embedding's weights", kYes, kNo},
        {"untied", "it has its own", kYes, kNo}}},
  };
  return kAxes;
}

const std::vector<CapabilityConflict>& capability_conflicts() {
  static const std::string kIdsNeedNone =
      "a SentencePiece model (data.tokenizer) cuts text into tokens, but data.path holds token ids; leave it at "
      "\"bytes\", or "
      "give the text";
  static const std::vector<CapabilityConflict> kConflicts = {
      {"transport", "mpi", "ranks", "threads", true,
       "transport mpi (parallel.transport, --transport) joins processes, but the ranks of this run are threads of one; "
       "use auto or in-process, or start several processes (launch/run.sh, no parallel.in_process_ranks)"},
      {"transport", "nodes", "ranks", "threads", true,
       "transport nodes (parallel.transport, --transport) joins processes, but the ranks of this run are threads of "
       "one; "
       "use auto or in-process, or start several processes (launch/run.sh, no parallel.in_process_ranks)"},
      {"transport", "in-process", "ranks", "processes", true,
       "transport in-process (parallel.transport, --transport) joins threads, but the ranks of this run are processes; "
       "use auto, shared, nodes or mpi, or start one process with parallel.in_process_ranks (--in-process-ranks)"},
      {"tokenizer", "sentencepiece", "data", "tokens", true, kIdsNeedNone},
      {"tokenizer", "sentencepiece", "data", "megatron", true, kIdsNeedNone},
      {"mask", "documents", "data", "text", false, "a text file is one document"},
      {"positions", "restart", "mask", "causal", false, "under one mask positions go over the whole sequence"},
      {"positions", "restart", "data", "text", false, "a text file is one document, whose positions begin once"},
  };
  return kConflicts;
}

bool supports(const CapabilityValue& value, Command command) {
  return command == Command::kTrain ? value.train : value.attention;
}

std::vector<std::string> supported_values(const std::string& axis, Command command) {
  std::vector<std::string> names;
  for (const CapabilityValue& value : axis_of(axis).values)
    if (supports(value, command)) names.push_back(value.name);
  return names;
}

std::optional<std::string> conflict_in(const CapabilityChoice& choice) {
  const auto chosen = [&](const std::string& axis, const std::string& value) {
    return std::find(choice.begin(), choice.end(), std::pair(axis, value)) != choice.end();
  };
  for (const CapabilityConflict& conflict : capability_conflicts())
    if (chosen(conflict.axis, conflict.value) && chosen(conflict.other_axis, conflict.other_value)) return conflict.why;
  return std::nullopt;
}

std::optional<std::string> refusal(Command command, const CapabilityChoice& choice) {
  for (const auto& [name, value] : choice) {
    const CapabilityAxis& axis = axis_of(name);
    const auto found = std::find_if(axis.values.begin(), axis.values.end(),
                                    [&value = value](const CapabilityValue& known) { return known.name == value; });
    const std::string instead = listed(supported_values(name, command));
    if (found == axis.values.end())
      return concat("there is no ", name, " '", value, "' (", axis.option, "); use ", instead);
    if (!supports(*found, command))
      return concat(name, " ", value, " (", axis.option, ") is not supported: ", found->meaning, "; use ", instead);
  }
  return conflict_in(choice);
}

void require_supported(Command command, const CapabilityChoice& choice) {
  if (const auto problem = refusal(command, choice)) fail(ExitCode::kUsage, *problem);
}

}  // namespace annulus
