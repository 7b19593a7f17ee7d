// Damaged checkpoints, by accident or by intent, are refused on every rank with a message that names the file.
#include <gtest/gtest.h>

#include <random>

#include "tests/runtime/checkpoint_case.h"

namespace annulus::test {
namespace {

TEST(CheckpointDamage, EveryFlippedBitOfManifestIsFound) {
  const Damaged checkpoint;
  const std::string manifest = read_text(checkpoint.file("MANIFEST"));
  for (size_t i = 0; i < manifest.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = manifest;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      EXPECT_THROW(parse_manifest(flipped), UserError) << "byte " << i << " bit " << bit;
    }
  for (size_t length = 0; length < manifest.size(); ++length)
    EXPECT_THROW(parse_manifest(manifest.substr(0, length)), UserError) << length;
  EXPECT_THROW(parse_manifest(manifest + "\n"), UserError);
  EXPECT_THROW(parse_manifest(manifest + manifest), UserError);

  std::mt19937 random(1);
  for (size_t i = 0; i < manifest.size(); i += 1 + random() % 20) {
    std::string damaged = manifest;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 + random() % 255));
    write_text(checkpoint.file("MANIFEST"), damaged);
    expect_in("/MANIFEST'", checkpoint.error());
    expect_in("/MANIFEST'", error_of_run_state(checkpoint.path));
  }
  write_text(checkpoint.file("MANIFEST"), manifest);
  EXPECT_EQ(checkpoint.error(), "");
}

TEST(CheckpointDamage, LiesOfManifestAreFound) {
  const Damaged checkpoint;
  const std::string manifest = read_text(checkpoint.file("MANIFEST"));
  const size_t digest = manifest.rfind("\ndigest ") + 1;
  auto error_with = [&](const std::string& from, const std::string& to) {
    std::string text = manifest.substr(0, digest);
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    write_text(checkpoint.file("MANIFEST"), text + "digest " + digest_of(text) + "\n");
    return checkpoint.error();
  };
  EXPECT_EQ(error_with("step 3", "step 3"), "");
  for (const char* version : {"3", "10", "999999999"}) {
    expect_in(concat("it has schema version ", version, ", but this annulus reads versions up to 2"),
              error_with("checkpoint 1", concat("checkpoint ", version)));
    EXPECT_TRUE(is_of_later_schema(checkpoint.path));
  }
  for (const char* version : {"0", "02", "-1", "2 ", "1.0", "9999999999", ""}) {
    expect_in("it is damaged", error_with("checkpoint 1", concat("checkpoint ", version)));
    EXPECT_FALSE(is_of_later_schema(checkpoint.path));
  }
  expect_in("line 3 holds no whole number", error_with("step 3", "step 03"));
  expect_in("line 3 holds no whole number", error_with("step 3", "step -3"));
  expect_in("line 3 holds no whole number", error_with("step 3", "step 99999999999999999999"));
  expect_in("line 4 does not begin with 'ranks'", error_with("ranks ", "runks "));
  expect_in("line 4 holds no whole number of at least 1", error_with("ranks 2", "ranks 0"));
  for (const char* name : {"../part-00000-00.h5", "/etc/passwd", "part-00000-0x.h5", "MANIFEST"})
    expect_in("names a file that is neither", error_with("part-00000-00.h5", name));
  expect_in("names part-00000-00.h5 twice", error_with("part-00001-00.h5", "part-00000-00.h5"));
  expect_in("does not name part-00000-00.h5", error_with("part-00000-00.h5", "part-00009-00.h5"));
  expect_in("line 11 is not 'file", error_with("part-00000-00.h5 ", "part-00000-00.h5"));
  expect_in("bytes where", error_with("part-00001-00.h5 ", "part-00001-00.h5 1"));
}

TEST(CheckpointDamage, RandomDamageToPartsIsFound) {
  const Damaged checkpoint;
  const std::vector<std::string> parts = checkpoint.parts();
  ASSERT_GE(parts.size(), 3u);
  std::mt19937 random(2);
  for (int trial = 0; trial < 600; ++trial) {
    const std::string& name = parts[random() % parts.size()];
    const std::string whole = read_text(checkpoint.file(name));
    std::string damaged = whole;
    const size_t at = random() % whole.size();
    switch (trial % 6) {
      case 0:
        damaged.resize(at);
        break;
      case 1:
        damaged += std::string(1 + random() % 5000, '\0');
        break;
      case 2:  // a block of zeros, as a disk that lost a page has
        damaged.replace(at, std::min<size_t>(512, whole.size() - at), std::min<size_t>(512, whole.size() - at), '\0');
        break;
      default:
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    }
    if (damaged == whole) continue;
    write_text(checkpoint.file(name), damaged);
    const std::string error = checkpoint.error(1 + trial % 3);
    expect_in(name, error);
    expect_in(damaged.size() > whole.size() ? "at most" : "is damaged", error);
    if (name == kFirstPartName) expect_in(name, error_of_run_state(checkpoint.path));
    write_text(checkpoint.file(name), whole);
  }
  EXPECT_EQ(checkpoint.error(), "");
}

TEST(CheckpointDamage, MissingAndReplacedFilesAreFound) {
  const Damaged checkpoint;
  for (const std::string& name : checkpoint.parts()) {
    const std::string aside = checkpoint.run.path + "/" + name;
    fs::rename(checkpoint.file(name), aside);
    for (const int ranks : {1, 2, 5}) expect_in(name + "': No such file", checkpoint.error(ranks));
    fs::create_symlink(aside, checkpoint.file(name));
    expect_in(name + "': it is a link", checkpoint.error());
    fs::remove(checkpoint.file(name));
    fs::create_directory(checkpoint.file(name));
    expect_in(name + "' is not a regular file", checkpoint.error());
    fs::remove(checkpoint.file(name));
    ASSERT_EQ(mkfifo(checkpoint.file(name).c_str(), 0600), 0);
    expect_in(name + "' is not a regular file", checkpoint.error());
    fs::remove(checkpoint.file(name));
    fs::rename(aside, checkpoint.file(name));
  }
  EXPECT_EQ(checkpoint.error(), "");
  write_text(checkpoint.file("view.h5"), "");  // for people only: loading does without
  EXPECT_EQ(checkpoint.error(), "");
  fs::remove(checkpoint.file("MANIFEST"));
  expect_in("MANIFEST': No such file", checkpoint.error());
  expect_in("No such file", load_error(checkpoint.run.path + "/none", 1, 2));
}

TEST(CheckpointDamage, WantedRowsMustBeThere) {
  const Damaged checkpoint;
  auto error_with = [&](const std::vector<NamedShape>& tensors, const Cut& cut = kEven) {
    return load_error(checkpoint.path, Damaged::kStep, 3, cut, tensors);
  };
  EXPECT_EQ(error_with({kTensors[2], kTensors[0]}), "");  // fewer, in another order
  expect_in("there is no tensor /model/head", error_with({kTensors[0], {"/model/head", {4, 4}}}));
  expect_in("/model/embedding has shape (61, 12) there but is wanted with shape (61, 13)",
            error_with({{"/model/embedding", {61, 13}}}));
  expect_in("/model/embedding has shape (61, 12)", error_with({{"/model/embedding", {62, 12}}}));
  expect_in("/model/embedding has shape (61, 12)", error_with({{"/model/embedding", {61}}}));
  // Only one rank's wish is wrong: still all refuse.
  const Cut only_last = [](size_t tensor, int64_t rows, int rank, int) {
    return Rows{0, tensor == 0 || rank == 2 ? rows : 0};
  };
  expect_in("there is no tensor /none", error_with({kTensors[0], {"/none", {1}}}, only_last));
}

}  // namespace
}  // namespace annulus::test
