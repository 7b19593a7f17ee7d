#pragma once
// SentencePiece models for tests: written by hand, field by field, and learnt from a few lines.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "runtime/sentencepiece_train.h"

namespace annulus::test {

/// Type as in a model: 1 normal, 2 unknown, 4 always one token, 6 a byte ("<0x0A>").
struct WrittenPiece {
  std::string text;
  float score = 0.0f;
  int type = 1;
};

/// A field of Protocol Buffers: number, length, content.
inline std::string field(int number, const std::string& content) {
  std::string bytes(1, static_cast<char>(number * 8 + 2));
  for (size_t left = content.size();; left >>= 7) {
    bytes += static_cast<char>((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
    if (left <= 0x7F) return bytes + content;
  }
}

inline std::string field_of(const WrittenPiece& piece) {
  std::string score(4, '\0');
  std::memcpy(score.data(), &piece.score, 4);
  return field(1, field(1, piece.text) + "\x15" + score + "\x18" + static_cast<char>(piece.type));
}

/// A byte-pair model that asks for a blank in front, and for blanks in a row to be one.
inline std::string written_model(const std::vector<WrittenPiece>& pieces) {
  std::string bytes = field_of({"<unk>", 0.0f, 2});
  for (const WrittenPiece& piece : pieces) bytes += field_of(piece);
  return bytes + field(2, "\x18\x02") + field(3, "\x18\x01\x20\x01");
}

/// Lines of made-up words, and some that is not ASCII.
inline std::string text_to_learn() {
  const std::vector<std::string> syllables = {"ring", "ran", "k", "tur", "n", "o", "f", "at", "ten", "tion"};
  std::mt19937 rng(3);
  std::string text;
  for (int line = 0; line < 300; ++line) {
    for (int word = 0; word < 8; ++word) {
      for (size_t left = rng() % 3 + 1; left > 0; --left) text += syllables[rng() % syllables.size()];
      text += " ";
    }
    text += std::to_string(line) + " caf\u00e9 \u4e16\u754c.\n";
  }
  return text;
}

inline TextFile text_file(const std::string& text, std::vector<int64_t> starts = {0}) {
  const auto owner = std::make_shared<const std::string>(text);
  return {owner, *owner, std::move(starts), true};
}

/// A directory for the model files of a test.
class ModelFiles : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(root_); }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(root_ + "/" + name, std::ios::binary) << content;
    return root_ + "/" + name;
  }
  std::string learnt(const std::string& type) const {
    return write(type + ".model", train_sentencepiece(text_file(text_to_learn()), 330, type));
  }

  const std::string root_ = testing::TempDir() + "annulus_models_" + std::to_string(getpid());
};

}  // namespace annulus::test
