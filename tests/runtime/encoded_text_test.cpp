#include "runtime/encoded_text.h"

#include "comm/agree.h"
#include "runtime/open_dataset.h"
#include "tests/support/ranks.h"
#include "tests/support/tokenizer_models.h"

namespace annulus::test {
namespace {

struct Encoded {
  std::vector<int32_t> tokens;
  std::vector<int64_t> starts;
  size_t token_bytes;
  bool operator==(const Encoded&) const = default;
};

Encoded copy_of(const TokenFile& file) {
  Encoded copy = {{}, {file.document_starts().begin(), file.document_starts().end()}, 0};
  for (int64_t i = 0; i < file.size(); ++i) copy.tokens.push_back(file.token(i));
  copy.token_bytes = file.size() == 0 ? 0 : file.bytes().size() / static_cast<size_t>(file.size());
  return copy;
}

// Of rank 0; the others must have the same.
Encoded encoded(const TextFile& text, const Tokenizer& tokenizer, int ranks, int threads = 1) {
  std::vector<Encoded> all(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](Group& world) {
    cpu::set_num_threads(threads);
    all[static_cast<size_t>(world.rank())] = copy_of(encode_text(text, tokenizer, "a.txt", world));
  });
  for (const Encoded& one : all) EXPECT_TRUE(one == all.front());
  return all.front();
}

// Long enough for many blocks: lines, one line of 80 KB, and documents of all sizes.
TextFile long_text() {
  std::string text;
  std::vector<int64_t> starts = {0};
  auto begin_document = [&] { starts.push_back(static_cast<int64_t>(text.size())); };
  for (int i = 0; i < 5; ++i) text += text_to_learn();
  begin_document();
  for (int i = 0; i < 8000; ++i) text += "ranks turn";
  for (int i = 0; i < 1500; ++i) {
    begin_document();
    text += text_to_learn().substr(static_cast<size_t>(i), static_cast<size_t>(i % 97 + 1));
  }
  return text_file(text, starts);
}

using EncodedText = ModelFiles;

TEST_F(EncodedText, DoesNotDependOnRanksOrThreads) {
  const TextFile text = long_text();
  for (const std::string type : {"bpe", "unigram"}) {
    const Tokenizer tokenizer(learnt(type));
    const Encoded one = encoded(text, tokenizer, 1);
    EXPECT_EQ(one.token_bytes, 2u);
    for (const int ranks : {2, 3, 7}) EXPECT_TRUE(encoded(text, tokenizer, ranks) == one) << ranks;
    EXPECT_TRUE(encoded(text, tokenizer, 1, 4) == one);
    EXPECT_TRUE(encoded(text, tokenizer, 2, 3) == one);
  }
}

TEST_F(EncodedText, EveryDocumentIsEncodedByItself) {
  const TextFile text = long_text();
  const Tokenizer tokenizer(learnt("bpe"));
  const Encoded all = encoded(text, tokenizer, 3);
  ASSERT_EQ(all.starts.size(), text.document_starts.size());
  for (size_t d = 0; d < all.starts.size(); ++d) {
    const bool last = d + 1 == all.starts.size();
    const auto begin = static_cast<size_t>(text.document_starts[d]);
    const size_t end = last ? text.text.size() : static_cast<size_t>(text.document_starts[d + 1]);
    std::vector<int32_t> alone;
    tokenizer.encode(text.text.substr(begin, end - begin), alone);
    const std::vector<int32_t> here(all.tokens.begin() + all.starts[d],
                                    last ? all.tokens.end() : all.tokens.begin() + all.starts[d + 1]);
    ASSERT_TRUE(here == alone) << d;
  }
}

TEST_F(EncodedText, MayBeShort) {
  const Tokenizer tokenizer(learnt("bpe"));
  EXPECT_TRUE(encoded(text_file(""), tokenizer, 3) == (Encoded{{}, {0}, 0}));
  EXPECT_EQ(encoded(text_file("a"), tokenizer, 3).tokens.size(), 1u);
  EXPECT_EQ(encoded(text_file("ab", {0, 1}), tokenizer, 3).starts, (std::vector<int64_t>{0, 1}));
}

TEST_F(EncodedText, LargeVocabulariesTakeFourBytes) {
  std::vector<WrittenPiece> pieces = {{"a", 0}};
  while (pieces.size() < 65534) pieces.push_back({"{" + std::to_string(pieces.size()) + "}", 0, 4});
  pieces.push_back({"{last}", 0, 4});  // id 65535
  EXPECT_TRUE(encoded(text_file("a{last}"), Tokenizer(write("a.model", written_model(pieces))), 2) ==
              (Encoded{{1, 65535}, {0}, 2}));
  pieces.push_back({"{more}", 0, 4});
  EXPECT_TRUE(encoded(text_file("a{last}{more}"), Tokenizer(write("b.model", written_model(pieces))), 2) ==
              (Encoded{{1, 65535, 65536}, {0}, 4}));
}

TEST_F(EncodedText, TheFirstPlaceWithoutATokenIsNamed) {
  const Tokenizer tokenizer(write("ab.model", written_model({{"a", -1}, {"b", -2}})));
  auto message = [&](const TextFile& text, int ranks) {
    std::vector<std::string> said(static_cast<size_t>(ranks), "no error");
    run_ranks(ranks, [&](Group& world) {
      try {
        encode_text(text, tokenizer, "a.txt", world);
      } catch (const AgreedError& error) {
        EXPECT_EQ(error.code(), ExitCode::kData);
        said[static_cast<size_t>(world.rank())] = error.what();
      }
    });
    for (const std::string& one : said) EXPECT_EQ(one, said.front());
    return said.front();
  };
  const std::string a(200000, 'a');
  for (const int ranks : {1, 3}) {
    EXPECT_NE(message(text_file(a + "c" + a + "d"), ranks).find("'a.txt' has at byte 200000;"), std::string::npos);
    EXPECT_NE(message(text_file(a + "bbd", {0, 200000, 200001}), ranks).find("at byte 1 of document 3;"),
              std::string::npos);
  }
}

TEST_F(EncodedText, AModelMustHaveRoomForTheVocabulary) {
  Config config;
  config.data.path = write("a.txt", text_to_learn());
  config.data.tokenizer = learnt("bpe");
  config.data.sequence_length = 10;
  auto opened = [&](int64_t vocab) {
    config.model.vocab = vocab;
    std::string message;
    run_ranks(2, [&](Group& world) {
      try {
        const auto data = open_dataset(config, config.data.tokenizer, world);
        EXPECT_EQ(data->text_bytes(), static_cast<int64_t>(text_to_learn().size()));
        EXPECT_EQ(data->memory_bytes(), data->validation().end * 2);
      } catch (const AgreedError& error) {
        EXPECT_EQ(error.code(), ExitCode::kUsage);
        if (world.rank() == 0) message = error.what();
      }
    });
    return message;
  };
  EXPECT_EQ(opened(330), "");
  EXPECT_EQ(opened(400), "");
  EXPECT_EQ(opened(329).find("model.vocab = 329 is less than the 330 tokens of data.tokenizer = '"), 0u);
}

}  // namespace
}  // namespace annulus::test
