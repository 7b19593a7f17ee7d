#include <algorithm>
#include <cstring>
#include <map>
#include <sstream>

#include "comm/agree.h"
#include "runtime/checkpoint.h"
#include "runtime/checkpoint_manifest.h"
#include "runtime/checkpoint_parts.h"
#include "runtime/checkpoint_report.h"
#include "runtime/checkpoint_rows.h"
#include "runtime/core/error.h"

namespace annulus {
namespace {

constexpr const char* kLoading = "loading a checkpoint";

// ---- what ranks tell each other

std::string join(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += text + '\0';
  return joined;
}

// The row ranges that each rank has listed.
std::vector<std::vector<RowRange>> ranges_by_rank(const std::string& joined) {
  std::vector<std::vector<RowRange>> ranges;
  for (size_t begin = 0, end = 0; begin < joined.size(); begin = end + 1) {
    end = joined.find('\0', begin);
    std::istringstream text(joined.substr(begin, end - begin));
    ranges.emplace_back();
    for (RowRange range; take(text, range);) ranges.back().push_back(range);
  }
  return ranges;
}

std::string refusal(const std::string& checkpoint, const std::string& problem) {
  return concat("cannot load checkpoint '", checkpoint, "': ", problem,
                "; restore it from a copy, or resume from another one (--resume=PATH)");
}

// ---- the loader

// Rows of one tensor that one rank wants.
struct Wanted {
  int rank;
  RowRange range;
  std::byte* data;  // on that rank only
};

// All ranks know who wants what and, round by round, who has read what. So all of them come to the same verdict and to
// the same messages without asking each other again.
class Loader {
 public:
  Loader(const std::string& checkpoint, Group& world) : checkpoint_(checkpoint), world_(world) {}

  void load(const std::vector<TensorRows>& wanted) {
    gather_wanted(wanted);
    const Manifest manifest = read_manifest_everywhere();
    const std::vector<ManifestFile> files = manifest.parts();
    for (size_t first = 0; first < files.size(); first += num_ranks()) load_round(files, first);
    for (const auto& [name, ranges] : wanted_)
      for (const Wanted& want : ranges) refuse(coverage_.missing(want.range));
  }

 private:
  size_t num_ranks() const { return static_cast<size_t>(world_.size()); }

  void refuse(const std::string& problem) const {
    if (!problem.empty()) throw AgreedError(ExitCode::kCheckpoint, refusal(checkpoint_, problem));
  }

  // Collective: what `finish` makes of the texts of all ranks.
  template <class Work, class Finish>
  std::string agreed(Work&& work, Finish&& finish) {
    const Report report = report_together(world_, kLoading, work, finish);
    if (!report.ok) refuse(report.text);
    return report.text;
  }

  void gather_wanted(const std::vector<TensorRows>& wanted) {
    std::vector<void*> memory;  // of the ranges that this rank lists
    const std::string joined = agreed(
        [&] {
          std::ostringstream lines;
          for (const TensorRows& tensor : wanted) {
            if (tensor.rows == 0 || tensor.shape.numel() == 0) continue;
            const RowRange range = {tensor.name, tensor.shape, tensor.first_row, tensor.rows, tensor.dtype};
            const std::string problem = problem_of(range);
            invariant(problem.empty(), problem);
            put(lines, range);
            memory.push_back(tensor.data);
          }
          return lines.str();
        },
        join);
    const std::vector<std::vector<RowRange>> lists = ranges_by_rank(joined);
    for (int rank = 0; rank < world_.size(); ++rank) {
      const std::vector<RowRange>& ranges = lists[static_cast<size_t>(rank)];
      for (size_t i = 0; i < ranges.size(); ++i)
        wanted_[ranges[i].name].push_back(
            {rank, ranges[i], rank == world_.rank() ? static_cast<std::byte*>(memory[i]) : nullptr});
    }
  }

  Manifest read_manifest_everywhere() {
    return parse_manifest(agreed([&] { return world_.rank() == 0 ? manifest_text(read_manifest(checkpoint_)) : ""; },
                                 [](const std::vector<std::string>& texts) { return texts[0]; }));
  }

  // Each rank reads one file, and its rows go to whoever wants them.
  void load_round(const std::vector<ManifestFile>& files, size_t first) {
    const size_t mine = first + static_cast<size_t>(world_.rank());
    LoadedPart part;
    const std::string joined = agreed(
        [&] {
          std::ostringstream lines;
          if (mine < files.size()) part = read_part(checkpoint_, files[mine]);
          for (const PartRows& rows : part.contents.rows) put(lines, rows.range);
          return lines.str();
        },
        join);
    const std::vector<std::vector<RowRange>> found = ranges_by_rank(joined);
    size_t most = 0;
    for (size_t reader = 0; reader < found.size(); ++reader) {
      for (const RowRange& range : found[reader]) add(range, files[first + reader].name);
      most = std::max(most, found[reader].size());
    }
    for (size_t index = 0; index < most; ++index) deliver(found, index, part.contents.rows);
  }

  void add(const RowRange& range, const std::string& file) {
    refuse(coverage_.add(range, file));
    const auto ranges = wanted_.find(range.name);
    if (ranges == wanted_.end()) return;
    for (const Wanted& want : ranges->second)
      if (!(want.range.shape == range.shape) || want.range.dtype != range.dtype) refuse(coverage_.missing(want.range));
  }

  // Sends the rows that each rank has found as its number `index`. Rows are sent from where the file was read to and
  // received where they are wanted.
  void deliver(const std::vector<std::vector<RowRange>>& found, size_t index, const std::vector<PartRows>& mine) {
    std::vector<Group::Outgoing> sends;
    std::vector<Group::Incoming> receives;
    for (int reader = 0; reader < world_.size(); ++reader) {
      const std::vector<RowRange>& ranges = found[static_cast<size_t>(reader)];
      if (index >= ranges.size()) continue;
      const RowRange& range = ranges[index];
      const auto wanted = wanted_.find(range.name);
      if (wanted == wanted_.end()) continue;
      for (const Wanted& want : wanted->second) {
        RowRange common = range;
        common.first_row = std::max(range.first_row, want.range.first_row);
        common.rows = std::min(range.end_row(), want.range.end_row()) - common.first_row;
        if (common.rows <= 0) continue;
        const bool is_mine = reader == world_.rank(), is_for_me = want.rank == world_.rank();
        const std::byte* from =
            is_mine ? mine[index].data + (common.first_row - range.first_row) * range.row_bytes() : nullptr;
        std::byte* to = is_for_me ? want.data + (common.first_row - want.range.first_row) * range.row_bytes() : nullptr;
        if (is_mine && is_for_me)
          std::memcpy(to, from, static_cast<size_t>(common.bytes()));
        else if (is_mine)
          sends.push_back({want.rank, from, common.bytes()});
        else if (is_for_me)
          receives.push_back({reader, to, common.bytes()});
      }
    }
    if (!sends.empty() || !receives.empty()) world_.exchange(sends, receives, kLoading);
  }

  std::string checkpoint_;
  Group& world_;
  std::map<std::string, std::vector<Wanted>> wanted_;  // the same on every rank, but for the memory
  RowCoverage coverage_;
};

}  // namespace

void load_checkpoint(const std::string& checkpoint, const std::vector<TensorRows>& wanted, Group& world) {
  Loader(checkpoint, world).load(wanted);
}

RunState read_run_state(const std::string& checkpoint) try {
  const Manifest manifest = read_manifest(checkpoint);
  const auto first = std::find_if(manifest.files.begin(), manifest.files.end(),
                                  [](const ManifestFile& file) { return file.name == kFirstPartName; });
  invariant(first != manifest.files.end(), "a MANIFEST without a first part was accepted");
  RunState state = manifest.state;
  state.config_text = *read_part(checkpoint, *first).contents.config;
  require(ExitCode::kCheckpoint, digest_of(state.config_text) == manifest.config_digest, "the config in ",
          kFirstPartName, " is not the one that MANIFEST names");
  return state;
} catch (const UserError& error) {
  fail(ExitCode::kCheckpoint, refusal(checkpoint, error.what()));
}

}  // namespace annulus
