#include "runtime/tokenizer.h"

#include <random>

#include "runtime/core/error.h"
#include "runtime/stretches.h"
#include "tests/support/tokenizer_models.h"

namespace annulus::test {
namespace {

using Tokens = std::vector<int32_t>;

std::string decoded(const Tokenizer& tokenizer, const Tokens& tokens) {
  std::string text;
  for (const int32_t token : tokens) text += tokenizer.text_of(token);
  return text;
}

Tokens tokens_of(const Tokenizer& tokenizer, const std::string& text) {
  Tokens tokens;
  EXPECT_EQ(tokenizer.encode(text, tokens), text.size());
  return tokens;
}

// Bytes, characters, blanks, line ends and what SentencePiece uses for itself, at random.
std::string hostile_text(std::mt19937& rng) {
  const std::vector<std::string> parts = {
      "the",     " ranks",       "  ",     "\n",     "\r\n", "\t",           std::string(1, '\0'),
      "\u2581",  "\u2585",       "\xff",   "\xe2",   "\x96", "\xed\xa0\x80", "\xc0\x80",
      "\u4e16",  "\U0001f600",   "<0x41>", "<unk>",  "<s>",  "\ufffd",       "\ufeff",
      "e\u0301", "\xf4\x90\x80", " ",      "\u00a0", "\x7f"};
  std::string text;
  for (size_t n = rng() % 60; n > 0; --n)
    text += rng() % 4 == 0 ? std::string(1, static_cast<char>(rng())) : parts[rng() % parts.size()];
  return text;
}

std::string refusal_of(const std::string& path) {
  try {
    Tokenizer tokenizer(path);
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::kData);
    return error.what();
  }
  return "no error";
}

TEST(Stretches, EndBehindLineEnds) {
  EXPECT_EQ(stretch_end("ab\ncd", 0), 3u);
  EXPECT_EQ(stretch_end("ab\n\n\ncd", 0), 5u);
  EXPECT_EQ(stretch_end("ab\n\n\ncd", 5), 7u);
  EXPECT_EQ(stretch_end("\n\nab", 0), 2u);
  EXPECT_EQ(stretch_end("a\r\n\r\nb", 0), 3u);
}

TEST(Stretches, LongLinesAreCutBeforeABlankOrBetweenCharacters) {
  constexpr size_t kMost = 16384;
  EXPECT_EQ(stretch_end(std::string(kMost, 'a'), 0), kMost);
  EXPECT_EQ(stretch_end(std::string(kMost + 1, 'a'), 0), kMost);
  EXPECT_EQ(stretch_end(std::string(10, 'a') + " " + std::string(kMost, 'b'), 0), 10u);
  EXPECT_EQ(stretch_end(" " + std::string(2 * kMost, 'b'), 0), kMost);
  std::string wide = "a";
  while (wide.size() < 2 * kMost) wide += "\U0001f600";
  EXPECT_EQ(stretch_end(wide, 0), kMost - 3);  // 1 + 4 * 4095
  EXPECT_EQ(stretch_end(std::string(2 * kMost, '\x80'), 0), kMost - 4);
}

TEST(Stretches, CharactersAreThoseOfUtf8) {
  // All there are, written by their number; and every one of two and three bytes that is none.
  int good = 0;
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    if (c < 0x80) {
      text = {static_cast<char>(c)};
    } else if (c < 0x800) {
      text = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
    } else if (c < 0x10000) {
      text = {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
              static_cast<char>(0x80 | (c & 63))};
    } else {
      text = {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
              static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
    }
    good += character_length(text + "x") == text.size();
    EXPECT_EQ(character_length(text.substr(0, text.size() - 1)), 0u) << c;
  }
  EXPECT_EQ(good, 0x110000 - 0x800);
  int of_two = 0, of_three = 0, of_four = 0;
  for (uint32_t c = 0; c < 0x1000000; ++c) {
    const std::string text = {static_cast<char>(c >> 16), static_cast<char>(c >> 8), static_cast<char>(c)};
    of_two += (c & 255) == 0 && character_length(text) == 2;
    of_three += character_length(text) == 3;
    of_four += character_length(text + "\x80") == 4;
  }
  EXPECT_EQ(of_two, 0x800 - 0x80);
  EXPECT_EQ(of_three, 0x10000 - 0x800 - 0x800);
  EXPECT_EQ(of_four, 0x100000 / 64);
}

using Tokenizers = ModelFiles;

TEST_F(Tokenizers, GiveEveryTextBack) {
  std::mt19937 rng(5);
  for (const std::string& name : {std::string("bytes"), learnt("bpe"), learnt("unigram")}) {
    const Tokenizer tokenizer(name);
    for (const std::string& text : {std::string(), text_to_learn(), std::string(70000, ' '), std::string(70000, '\n'),
                                    std::string(70000, 'x'), std::string(70000, '\xff'), "\u2581" + text_to_learn()})
      EXPECT_TRUE(decoded(tokenizer, tokens_of(tokenizer, text)) == text) << name << " " << text.substr(0, 10);
    for (int i = 0; i < 1000; ++i) {
      const std::string text = hostile_text(rng);
      EXPECT_EQ(decoded(tokenizer, tokens_of(tokenizer, text)), text) << name;
    }
  }
}

TEST_F(Tokenizers, AreTheSameEachTime) {
  for (const std::string type : {"bpe", "unigram"}) {
    const std::string model = train_sentencepiece(text_file(text_to_learn()), 330, type);
    EXPECT_TRUE(model == train_sentencepiece(text_file(text_to_learn()), 330, type));
    const Tokenizer tokenizer(write("same.model", model));
    EXPECT_EQ(tokenizer.size(), 330);
    EXPECT_LT(tokens_of(tokenizer, text_to_learn()).size(), text_to_learn().size() / 2);
  }
}

// The library would leave each of these sentences out.
TEST_F(Tokenizers, LearnFromAllOfAText) {
  std::string line, reserved, tabs, broken, other;
  for (int i = 0; i < 20000; ++i) line += " zebra";
  for (int i = 0; i < 2000; ++i) {
    reserved += " giraffe";
    tabs += "\t walrus";
    broken += " ostrich";
    other += " penguin";
  }
  const std::string all = line + "\n" + reserved + "\u2585\n" + tabs + "\n" + broken + "\xff";
  const std::string last = all + std::string(1, '\0') + other;
  const std::vector<int64_t> starts = {0, static_cast<int64_t>(all.size())};
  const Tokenizer tokenizer(write("all.model", train_sentencepiece(text_file(last, starts), 312, "bpe")));
  for (const std::string word : {" zebra", " giraffe", " walrus", " ostrich", " penguin"})
    EXPECT_EQ(tokens_of(tokenizer, word).size(), 1u) << word;
}

TEST_F(Tokenizers, SaySizesThatDoNotFit) {
  auto message = [](const std::string& text, int64_t vocab, const std::string& type, ExitCode code) -> std::string {
    try {
      train_sentencepiece(text_file(text), vocab, type);
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), code);
      return error.what();
    }
    return "no error";
  };
  for (const std::string type : {"bpe", "unigram"}) {
    EXPECT_EQ(message("aaaa bbbb", 5000, type, ExitCode::kUsage).find("--vocab=5000 is more than the 2"), 0u);
    EXPECT_EQ(message("abcdefghij", 260, type, ExitCode::kUsage).find("--vocab=260 is less than the 267"), 0u);
    EXPECT_EQ(message("\n\t", 300, type, ExitCode::kData), "there is no text to learn from in it");
  }
}

TEST_F(Tokenizers, CutByThePiecesOfAModelAndNothingElse) {
  const std::string model = written_model({{"\u2581", -3}, {"a", -1}, {"b", -2}, {"ab", 0}, {"!a\u2581b!", 0, 4}});
  const Tokenizer tokenizer(write("written.model", model));
  EXPECT_EQ(tokenizer.size(), 6);
  EXPECT_EQ(tokens_of(tokenizer, "aab"), (Tokens{2, 4}));  // the model asks for a blank in front: not here
  EXPECT_EQ(tokens_of(tokenizer, "  b "), (Tokens{1, 1, 3, 1}));
  EXPECT_EQ(tokens_of(tokenizer, "b!a b!a"), (Tokens{3, 5, 2}));
  EXPECT_EQ(tokenizer.text_of(1), " ");
  EXPECT_EQ(tokenizer.text_of(0), "");
  EXPECT_FALSE(tokenizer.has_byte('a'));
  for (const auto& [text, known] : std::vector<std::pair<std::string, size_t>>{
           {"abc", 2}, {"a\n", 1}, {"\u2581", 0}, {"ab \xff", 3}, {"b\u00e9", 1}, {std::string("a\0", 2), 1}}) {
    Tokens tokens;
    EXPECT_EQ(tokenizer.encode(text, tokens), known) << text;
  }
}

TEST_F(Tokenizers, ModelsThatAreNoneAreRefused) {
  auto expect = [&](const std::string& content, const std::string& part) {
    const std::string message = refusal_of(write("bad.model", content));
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find("bad.model"), std::string::npos) << message;
  };
  expect("", "there are no pieces");
  expect("the text itself\n", "byte 0 begins no field");
  expect(std::string(1000, '\0'), "byte 0 begins no field");
  expect(field(2, "\x18\x02") + field(3, ""), "there are no pieces");
  const std::string good = written_model({{"a", 0}});
  expect(good.substr(0, good.size() - 1), "cut off in the field");
  expect(written_model({{"a", 0}, {"a", 0}}), "SentencePiece says");  // twice
  expect(written_model({{"a", std::nanf("")}}), "score of piece 1");
  expect(written_model({{"a", 0, 6}}), "SentencePiece says");  // no byte
  expect(written_model({{"", 0}}), "SentencePiece says");
  std::string unigram = written_model({{std::string("\0", 1), 0}});
  unigram[unigram.find("\x12\x02\x18\x02") + 3] = 1;
  expect(unigram, "SentencePiece says");  // what it asks throws
  EXPECT_NE(refusal_of(root_ + "/none.model").find("No such file"), std::string::npos);
  EXPECT_NE(refusal_of(root_).find("is not a file"), std::string::npos);
}

TEST_F(Tokenizers, ACutModelIsRefusedWhereverItIsCut) {
  const std::string whole = written_model({{"\u2581", -3}, {"a", -1}, {"b", -2}, {"ab", 0}});
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_NE(refusal_of(write("cut.model", whole.substr(0, size))), "no error") << size;
  EXPECT_EQ(refusal_of(write("cut.model", whole)), "no error");
}

// Whatever a damaged model still does, it gives texts back or says where it cannot.
TEST_F(Tokenizers, FlippedBitsAreRefusedOrHarmless) {
  std::mt19937 rng(11);
  for (const std::string type : {"bpe", "unigram"}) {
    const std::string good = train_sentencepiece(text_file(text_to_learn()), 330, type);
    int refused = 0;
    for (int i = 0; i < 150; ++i) {
      std::string bad = good;
      const size_t at = i % 2 ? rng() % bad.size() : bad.size() - 1 - rng() % 100;  // half of them in the options
      bad[at] = static_cast<char>(bad[at] ^ (1 << rng() % 8));
      const std::string path = write("flipped.model", bad);
      if (refusal_of(path) != "no error") {
        ++refused;
        continue;
      }
      const Tokenizer tokenizer(path);
      const std::string text = hostile_text(rng) + text_to_learn().substr(0, 200);
      Tokens tokens;
      const size_t encoded = tokenizer.encode(text, tokens);
      EXPECT_LE(decoded(tokenizer, tokens).size(), encoded);
      EXPECT_TRUE(text.starts_with(decoded(tokenizer, tokens)));
    }
    EXPECT_GT(refused, 20);
  }
}

}  // namespace
}  // namespace annulus::test
