#include "runtime/checkpoint_manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>

#include "runtime/hdf5_disk.h"

namespace annulus {
namespace {

constexpr int64_t kMostBytes = 64 << 20;  // of a MANIFEST: a line for each of half a million parts
constexpr std::string_view kMagic = "annulus-checkpoint ";

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_digest(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool on_one_line(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; });
}

bool is_later_version(std::string_view text) {
  constexpr size_t kMostDigits = 9;  // more are no version but damage
  int64_t version = 0;
  const bool is_number = all_digits(text) && text.front() != '0' && text.size() <= kMostDigits;
  if (is_number) std::from_chars(text.data(), text.data() + text.size(), version);
  return version > kSchemaVersion;
}

bool ends_with_its_digest(const std::string& text) {
  const size_t last = text.rfind("\ndigest ") + 1;
  return last > 0 && text.substr(last) == "digest " + digest_of(text.substr(0, last)) + "\n";
}

std::string manifest_file_text(const std::string& path) {
  const std::vector<std::byte> bytes = read_whole_file(path, kMostBytes, ExitCode::kCheckpoint);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Takes a manifest apart, line by line.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  bool next_is(std::string_view key) const {
    return rest_.starts_with(key) && rest_.substr(key.size()).starts_with(' ');
  }

  // What stands behind `key` and a blank on the next line.
  std::string_view take(std::string_view key) {
    ++number_;
    require(ExitCode::kCheckpoint, next_is(key), "line ", number_, " does not begin with '", key, "'");
    const size_t end = rest_.find('\n');
    require(ExitCode::kCheckpoint, end != std::string_view::npos, "line ", number_, " does not end");
    const std::string_view value = rest_.substr(key.size() + 1, end - key.size() - 1);
    require(ExitCode::kCheckpoint, on_one_line(value), "line ", number_, " holds control characters");
    rest_.remove_prefix(end + 1);
    return value;
  }

  // A whole number, written as we write it: no sign but '-', no leading zeros.
  int64_t number(std::string_view text, int64_t least) const {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    require(ExitCode::kCheckpoint, error == std::errc() && fmt::to_string(value) == text && value >= least, "line ",
            number_, " holds no whole number of at least ", least, " where one belongs");
    return value;
  }

  int64_t take_number(std::string_view key, int64_t least) {
    const std::string_view text = take(key);
    return number(text, least);
  }

  std::string digest(std::string_view text) const {
    require(ExitCode::kCheckpoint, is_digest(text), "line ", number_, " holds no digest where one belongs");
    return std::string(text);
  }

  // Of the text, and where a SentencePiece model cut it "DIGEST tokenizer DIGEST".
  void take_data(RunState& state) {
    constexpr std::string_view kBetween = " tokenizer ";
    const std::string_view line = take("data");
    const size_t between = line.find(kBetween);
    state.data_digest = line.substr(0, between);
    if (between != std::string_view::npos) state.tokenizer_digest = digest(line.substr(between + kBetween.size()));
  }

  ManifestFile take_file() {
    const std::string_view line = take("file");
    const size_t first = line.find(' '), second = line.find(' ', first + 1);
    require(ExitCode::kCheckpoint, first != std::string_view::npos && second != std::string_view::npos, "line ",
            number_, " is not 'file NAME BYTES DIGEST'");
    const std::string name(line.substr(0, first));
    require(ExitCode::kCheckpoint, is_part_name(name) || name == kViewName, "line ", number_,
            " names a file that is neither a part nor the view");
    return {name, number(line.substr(first + 1, second - first - 1), 0), digest(line.substr(second + 1))};
  }

  size_t left() const { return rest_.size(); }

 private:
  std::string_view rest_;
  int64_t number_ = 0;
};

}  // namespace

std::vector<ManifestFile> Manifest::parts() const {
  std::vector<ManifestFile> found;
  std::copy_if(files.begin(), files.end(), std::back_inserter(found),
               [](const ManifestFile& file) { return file.name != kViewName; });
  return found;
}

std::string part_name(int rank, int64_t number) { return fmt::format("part-{:05}-{:02}.h5", rank, number); }

bool is_part_name(const std::string& name) {
  const std::string_view text = name;
  return text.size() >= 16 && text.starts_with("part-") && all_digits(text.substr(5, 5)) && text[10] == '-' &&
         text.ends_with(".h5") && all_digits(text.substr(11, text.size() - 14));
}

std::string manifest_text(const Manifest& manifest) {
  const RunState& state = manifest.state;
  invariant(on_one_line(state.run_name) && on_one_line(state.code_version) && on_one_line(state.data_digest) &&
                on_one_line(state.tokenizer_digest),
            "a run's name, version or data digest has control characters");
  const std::string tokenizer = state.tokenizer_digest.empty() ? "" : " tokenizer " + state.tokenizer_digest;
  std::string text =
      fmt::format("{}{}\nrun {}\nstep {}\nranks {}\nconfig {}\ndata {}\ntokens {}\nrows {}\nseed {}\nversion {}\n",
                  kMagic, manifest.schema_version, state.run_name, state.step, manifest.ranks, manifest.config_digest,
                  state.data_digest + tokenizer, state.tokens, state.rows, state.seed, state.code_version);
  for (const ManifestFile& file : manifest.files)
    text += fmt::format("file {} {} {}\n", file.name, file.bytes, file.digest);
  return text + fmt::format("digest {}\n", digest_of(text));
}

Manifest parse_manifest(const std::string& text) {
  Lines lines(text);
  require(ExitCode::kCheckpoint, text.starts_with(kMagic), "it is no MANIFEST of annulus");
  // The digest before anything else is believed, but for the version: another one may say other things everywhere.
  const std::string_view version = lines.take("annulus-checkpoint");
  require(ExitCode::kCheckpoint, !is_later_version(version), "it has schema version ", version,
          ", but this annulus reads versions up to ", kSchemaVersion,
          "; use the annulus that wrote it, or a later one");
  Manifest manifest;
  for (int64_t known = kLeastSchemaVersion; known <= kSchemaVersion; ++known)
    if (version == fmt::to_string(known)) manifest.schema_version = known;
  require(ExitCode::kCheckpoint, version == fmt::to_string(manifest.schema_version) && ends_with_its_digest(text),
          "it is damaged: its last line is not the digest of those above it");

  manifest.state.run_name = lines.take("run");
  manifest.state.step = lines.take_number("step", 0);
  manifest.ranks = lines.take_number("ranks", 1);
  manifest.config_digest = lines.digest(lines.take("config"));
  lines.take_data(manifest.state);
  manifest.state.tokens = lines.take_number("tokens", 0);
  manifest.state.rows = lines.take_number("rows", 0);
  manifest.state.seed = lines.take_number("seed", INT64_MIN);
  manifest.state.code_version = lines.take("version");
  std::set<std::string> names;
  while (lines.next_is("file")) {
    manifest.files.push_back(lines.take_file());
    require(ExitCode::kCheckpoint, names.insert(manifest.files.back().name).second, "it names ",
            manifest.files.back().name, " twice");
  }
  require(ExitCode::kCheckpoint, names.contains(kFirstPartName), "it does not name ", kFirstPartName);
  lines.take("digest");
  require(ExitCode::kCheckpoint, lines.left() == 0, "there is something behind its digest");
  return manifest;
}

Manifest read_manifest(const std::string& checkpoint) {
  const std::string path = checkpoint + "/" + kManifestName;
  const std::string text = manifest_file_text(path);
  try {
    return parse_manifest(text);
  } catch (const UserError& error) {
    fail(ExitCode::kCheckpoint, "cannot use '", path, "': ", error.what());
  }
}

bool is_of_later_schema(const std::string& checkpoint) {
  try {
    const std::string text = manifest_file_text(checkpoint + "/" + kManifestName);
    return text.starts_with(kMagic) && is_later_version(Lines(text).take("annulus-checkpoint")) &&
           ends_with_its_digest(text);
  } catch (const UserError&) {
    return false;
  }
}

bool same_checkpoint(const std::string& a, const std::string& b) {
  try {
    return manifest_text(read_manifest(a)) == manifest_text(read_manifest(b));
  } catch (const UserError&) {
    return false;
  }
}

std::vector<std::byte> read_listed_file(const std::string& checkpoint, const ManifestFile& file) {
  const std::string path = checkpoint + "/" + file.name;
  std::vector<std::byte> bytes = read_whole_file(path, file.bytes, ExitCode::kCheckpoint);
  require(ExitCode::kCheckpoint, static_cast<int64_t>(bytes.size()) == file.bytes, "'", path, "' is damaged: it has ",
          bytes.size(), " bytes where its MANIFEST says ", file.bytes);
  const std::string digest = digest_of(bytes);
  require(ExitCode::kCheckpoint, digest == file.digest, "'", path, "' is damaged: its XXH3-128 is ", digest,
          " where its MANIFEST says ", file.digest);
  return bytes;
}

}  // namespace annulus
