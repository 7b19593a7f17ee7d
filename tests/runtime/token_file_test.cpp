#include "runtime/token_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "runtime/core/error.h"
#include "runtime/dataset.h"

namespace annulus::test {
namespace {

class TokenFiles : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(root_); }
  void TearDown() override { std::filesystem::remove_all(root_); }

  template <class T>
  static std::string bytes_of(const std::vector<T>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
  }
  std::string write(const std::string& name, const std::string& content) {
    std::ofstream(root_ + "/" + name, std::ios::binary) << content;
    return root_ + "/" + name;
  }
  static DataConfig config(const std::string& path, int64_t end_of_document = -1) {
    DataConfig data;
    data.path = path;
    data.end_of_document = end_of_document;
    data.sequence_length = 3;
    data.validation_fraction = 0.0;
    return data;
  }
  static std::vector<int32_t> tokens_of(const TokenFile& file) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < file.size(); ++i) tokens.push_back(file.token(i));
    return tokens;
  }
  static std::vector<int64_t> starts_of(const TokenFile& file) {
    return {file.document_starts().begin(), file.document_starts().end()};
  }
  static std::string error_of(const DataConfig& data) {
    try {
      open_token_file(data);
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kData);
      return error.what();
    }
    return "no error";
  }
  static void expect_error(const DataConfig& data, const std::string& part) {
    EXPECT_NE(error_of(data).find(part), std::string::npos) << error_of(data);
  }
  // An index of sequences with these lengths, of which `first_of_document` begin documents.
  static std::string index(uint8_t type, const std::vector<int32_t>& lengths, std::vector<int64_t> first_of_document,
                           int64_t width) {
    std::vector<int64_t> pointers;
    int64_t at = 0;
    for (const int32_t length : lengths) {
      pointers.push_back(at * width);
      at += length;
    }
    first_of_document.push_back(static_cast<int64_t>(lengths.size()));
    return std::string("MMIDIDX\0\0", 9) + bytes_of<uint64_t>({1}) + static_cast<char>(type) +
           bytes_of<uint64_t>({lengths.size(), first_of_document.size()}) + bytes_of(lengths) + bytes_of(pointers) +
           bytes_of(first_of_document);
  }

  const std::string root_ = testing::TempDir() + "annulus_token_files_" + std::to_string(getpid());
};

TEST_F(TokenFiles, TextIsOneDocumentOfBytes) {
  const TokenFile file = open_token_file(config(write("a.txt", "ab\xff\n")));
  EXPECT_EQ(tokens_of(file), (std::vector<int32_t>{'a', 'b', 255, '\n'}));
  EXPECT_EQ(starts_of(file), (std::vector<int64_t>{0}));
}

TEST_F(TokenFiles, JsonLinesAreDocuments) {
  const std::string lines =
      "{\"text\": \"ab\"}\n\n{\"id\": 3, \"text\": \"\\u00e9\\n\"}\r\n{\"text\": \"\"}\n{\"text\":\"z\"}";
  const TokenFile file = open_token_file(config(write("a.jsonl", lines)));
  EXPECT_EQ(tokens_of(file), (std::vector<int32_t>{'a', 'b', 0xc3, 0xa9, '\n', 'z'}));
  EXPECT_EQ(starts_of(file), (std::vector<int64_t>{0, 2, 5}));
  expect_error(config(write("b.jsonl", "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n")), "line 2");
  expect_error(config(write("c.jsonl", "{\"text\": \"a\"")), "line 1");
  expect_error(config(write("d.jsonl", "{\"text\": 5}\n")), "string \"text\"");
}

TEST_F(TokenFiles, TokensEndDocumentsWithAnId) {
  const std::string path = write("a.bin", bytes_of<uint16_t>({7, 8, 50256, 9, 50256}));
  EXPECT_EQ(tokens_of(open_token_file(config(path))), (std::vector<int32_t>{7, 8, 50256, 9, 50256}));
  EXPECT_EQ(starts_of(open_token_file(config(path))), (std::vector<int64_t>{0}));
  EXPECT_EQ(starts_of(open_token_file(config(path, 50256))), (std::vector<int64_t>{0, 3}));
  expect_error(config(write("odd.bin", "abc")), "not uint16");
}

TEST_F(TokenFiles, TheHeaderOfLlmCIsSkipped) {
  std::vector<int32_t> header(256, 0);
  header[0] = 20240520;
  header[1] = 1;
  header[2] = 3;
  const std::string tokens = bytes_of<uint16_t>({1, 2, 3});
  EXPECT_EQ(tokens_of(open_token_file(config(write("a.bin", bytes_of(header) + tokens)))),
            (std::vector<int32_t>{1, 2, 3}));
  expect_error(config(write("cut.bin", bytes_of(header) + tokens.substr(2))), "cut off");
  header[1] = 2;
  expect_error(config(write("new.bin", bytes_of(header) + tokens)), "version 2");
}

TEST_F(TokenFiles, MegatronDatasetsAreReadByTheirIndex) {
  write("a.idx", index(8, {2, 1, 3}, {0, 2}, 2));
  const std::string path = write("a.bin", bytes_of<uint16_t>({10, 11, 12, 13, 14, 65535}));
  EXPECT_EQ(format_of(config(path)), "megatron");
  EXPECT_EQ(tokens_of(open_token_file(config(path))), (std::vector<int32_t>{10, 11, 12, 13, 14, 65535}));
  EXPECT_EQ(starts_of(open_token_file(config(path))), (std::vector<int64_t>{0, 3}));
  write("b.idx", index(4, {1, 1}, {0, 1}, 4));
  EXPECT_EQ(tokens_of(open_token_file(config(write("b.bin", bytes_of<int32_t>({70000, -1}))))),
            (std::vector<int32_t>{70000, -1}));
}

TEST_F(TokenFiles, LiesOfAMegatronIndexAreFound) {
  const std::string path = write("a.bin", bytes_of<uint16_t>({1, 2, 3, 4, 5, 6}));
  const std::string good = index(8, {2, 4}, {0, 1}, 2);
  auto expect = [&](std::string text, const std::string& part) {
    write("a.idx", text);
    expect_error(config(path), part);
  };
  expect("MMID", "MMIDIDX");
  expect(good.substr(0, good.size() - 1), "copy it again");
  expect(index(6, {2, 4}, {0, 1}, 2), "type 6");
  expect(index(8, {2, 3}, {0, 1}, 2), "do not belong together");
  expect(index(8, {2, -4}, {0, 1}, 2), "sequence 1");
  expect(index(8, {2, 4}, {0, 1}, 4), "begins at byte");
  expect(index(8, {2, 4}, {1, 0}, 2), "out of order");
  expect(index(8, {2, 4}, {0, 3}, 2), "begin at sequence 3 of 2");
  std::string huge = good;
  huge.replace(18, 8, bytes_of<uint64_t>({~uint64_t{0} / 2}));
  expect(huge, "copy it again");
  std::string version = good;
  version[9] = 2;
  expect(version, "version 2");
}

TEST_F(TokenFiles, AnIdOutsideTheVocabularyIsNamedWithItsPlace) {
  const Dataset data(config(write("a.bin", bytes_of<uint16_t>({1, 2, 3, 4, 99, 5}))));
  data.require_in_vocabulary(100);
  try {
    data.require_in_vocabulary(99);
    ADD_FAILURE();
  } catch (const UserError& error) {
    for (const std::string part : {"token 4", "a.bin", "is 99", "0 to 98"})
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST_F(TokenFiles, ValidationBeginsWithADocument) {
  DataConfig data = config(write("a.bin", bytes_of<uint16_t>({1, 1, 0, 2, 2, 2, 2, 0, 3, 3, 0, 4})), 0);
  data.validation_fraction = 0.5;  // from token 6, in the middle of the second document
  const Dataset dataset(data);
  EXPECT_EQ(dataset.training().end, 8);
  EXPECT_EQ(dataset.validation().begin, 8);
  EXPECT_EQ(dataset.validation().end, 12);
  EXPECT_EQ(dataset.document_end(3, 12), 8);
  EXPECT_EQ(dataset.document_end(3, 6), 6);
  EXPECT_EQ(dataset.document_end(11, 12), 12);
}

TEST_F(TokenFiles, DigestsTellTextsAndDocumentsApart) {
  const std::string tokens = bytes_of<uint16_t>({1, 1, 0, 2, 2, 2, 2, 0});
  const std::string a = Dataset(config(write("a.bin", tokens), 0)).digest();
  EXPECT_EQ(a, Dataset(config(write("b.bin", tokens), 0)).digest());
  EXPECT_NE(a, Dataset(config(write("b.bin", tokens), 1)).digest());
  EXPECT_NE(a, Dataset(config(write("b.bin", bytes_of<uint16_t>({1, 1, 0, 2, 2, 2, 3, 0})), 0)).digest());
}

}  // namespace
}  // namespace annulus::test
