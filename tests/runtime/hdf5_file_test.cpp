// HDF5 files: what is written reads back, other libraries read it, and a user's mistakes are named.
#include "runtime/hdf5_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "runtime/core/error.h"
#include "runtime/hdf5_disk.h"
#include "tests/runtime/checkpoint_case.h"

namespace annulus::test {
namespace {

std::string error_of(ExitCode code, const std::function<void()>& body) {
  try {
    body();
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "(no error)";
}

std::string data_error(const std::function<void()>& body) { return error_of(ExitCode::kData, body); }

std::vector<float> counting(const Shape& shape) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0.5f);
  return values;
}

/// Datasets that annulus reads but does not write.
template <class T>
void add_foreign(const std::string& path, const char* name, hid_t type, const std::vector<hsize_t>& dims,
                 const std::vector<T>& values, hid_t memory, bool compressed = false) {
  const hid_t file = fs::exists(path) ? H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)
                                      : H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t space = H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr),
              created = H5Pcreate(H5P_DATASET_CREATE);
  if (compressed) {
    ASSERT_GE(H5Pset_chunk(created, static_cast<int>(dims.size()), dims.data()), 0);
    ASSERT_GE(H5Pset_deflate(created, 5), 0);
  }
  const hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, created, H5P_DEFAULT);
  ASSERT_GE(H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  ASSERT_TRUE(H5Dclose(dataset) >= 0 && H5Sclose(space) >= 0 && H5Pclose(created) >= 0 && H5Fclose(file) >= 0);
}

TEST(Hdf5File, ReadsBackWhatItWrites) {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/out.h5";
  const std::vector<Shape> shapes = {{5}, {3, 4}, {2, 3, 4}, {2, 3, 4, 5}, {0, 3}};
  Hdf5Writer writer;
  for (size_t i = 0; i < shapes.size(); ++i)
    writer.write("t" + std::to_string(i), shapes[i], counting(shapes[i]).data());
  writer.write("/group/of/text", "some text");
  writer.save(path);

  const Hdf5Reader file(path);
  EXPECT_EQ(file.datasets(), (std::vector<std::string>{"t0", "t1", "t2", "t3", "t4"}));
  for (size_t i = 0; i < shapes.size(); ++i) {
    const std::string name = "t" + std::to_string(i);
    EXPECT_EQ(file.shape(name), shapes[i]) << name;
    EXPECT_EQ(file.dtype(name), Dtype::kF32);
    Shape origin = shapes[i];
    for (int d = 0; d < origin.rank(); ++d) origin.set(d, 0);
    std::vector<float> values(static_cast<size_t>(shapes[i].numel()));
    file.read(name, origin, shapes[i], values.data());
    EXPECT_EQ(values, counting(shapes[i])) << name;
  }
  EXPECT_TRUE(file.has("/group/of/text"));
  for (const char* name : {"group", "group/of", "none", "none/at/all", "", "/", "t0/x"})
    EXPECT_FALSE(file.has(name)) << name;
  EXPECT_EQ(names_in(directory.path), std::vector<std::string>{"out.h5"});
}

TEST(Hdf5File, ReadsAnyBlock) {
  const TemporaryDirectory directory;
  const Shape shape = {2, 7, 3, 2};
  Hdf5Writer writer;
  writer.write("q", shape, counting(shape).data());
  writer.save(directory.path + "/q.h5");
  const Hdf5Reader file(directory.path + "/q.h5");
  const Shape first = {1, 2, 0, 1}, count = {1, 4, 3, 1};
  std::vector<float> block(12);
  file.read("q", first, count, block.data());
  for (int64_t t = 0; t < 4; ++t)
    for (int64_t h = 0; h < 3; ++h)
      EXPECT_EQ(block[static_cast<size_t>(t * 3 + h)], 0.5f + static_cast<float>(((1 * 7 + 2 + t) * 3 + h) * 2 + 1));
  expect_in("there is no block of shape (1, 6, 3, 1) at (1, 2, 0, 1)", data_error([&] {
              file.read("q", first, {1, 6, 3, 1}, block.data());
            }));
  expect_in("there is no block", data_error([&] { file.read("q", {0}, {1}, block.data()); }));
  expect_in("there is no block", data_error([&] { file.read("q", {3, 0, 0, 0}, {0, 0, 0, 0}, block.data()); }));
}

TEST(Hdf5File, ReadsWhatOthersWrite) {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/in.h5";
  const std::vector<int64_t> slices = {0, 36, 0, 36, 0, int64_t{1} << 62};
  add_foreign<int64_t>(path, "mask_slices", H5T_STD_I64BE, {1, 6}, slices, H5T_NATIVE_INT64);
  add_foreign<float>(path, "compressed", H5T_IEEE_F32BE, {4}, {1, 2, 3, 4}, H5T_NATIVE_FLOAT, true);
  add_foreign<double>(path, "doubles", H5T_IEEE_F64LE, {2}, {1, 2}, H5T_NATIVE_DOUBLE);
  add_foreign<int32_t>(path, "small", H5T_STD_I32LE, {2}, {1, 2}, H5T_NATIVE_INT32);
  add_foreign<uint64_t>(path, "unsigned", H5T_STD_U64LE, {2}, {1, 2}, H5T_NATIVE_UINT64);
  add_foreign<float>(path, "five", H5T_IEEE_F32LE, {1, 1, 1, 1, 2}, {1, 2}, H5T_NATIVE_FLOAT);
  const Hdf5Reader file(path);
  EXPECT_EQ(file.dtype("mask_slices"), Dtype::kI64);
  std::vector<int64_t> integers(6);
  file.read("mask_slices", {0, 0}, {1, 6}, integers.data());
  EXPECT_EQ(integers, slices);
  std::vector<float> floats(2);
  file.read("compressed", {1}, {2}, floats.data());
  EXPECT_EQ(floats, (std::vector<float>{2, 3}));

  const std::string where = "'" + path + "'";
  expect_in("dataset 'doubles' of " + where + " holds 64-bit float elements",
            data_error([&] { file.read("doubles", {0}, {2}, floats.data()); }));
  expect_in("32-bit integer", data_error([&] { file.dtype("small"); }));
  expect_in("64-bit integer", data_error([&] { file.dtype("unsigned"); }));
  expect_in("5 dimensions", data_error([&] { file.shape("five"); }));
  expect_in("holds i64 elements where f32 belong", data_error([&] {
              file.read("mask_slices", {0, 0}, {1, 1}, floats.data());
            }));
  expect_in(where + " has no dataset 'q'; it has: compressed, doubles, five, mask_slices, small, unsigned",
            data_error([&] { file.shape("q"); }));
}

TEST(Hdf5File, RefusesElementsInOtherFiles) {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/in.h5";
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT),
              created = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t four = 4;
  ASSERT_GE(H5Pset_external(created, "/etc/passwd", 0, 16), 0);
  ASSERT_GE(H5Dclose(H5Dcreate2(file, "q", H5T_IEEE_F32LE, H5Screate_simple(1, &four, nullptr), H5P_DEFAULT, created,
                                H5P_DEFAULT)),
            0);
  ASSERT_GE(H5Fclose(file), 0);
  std::vector<float> floats(4);
  expect_in("keeps its elements in another file",
            data_error([&] { Hdf5Reader(path).read("q", {0}, {4}, floats.data()); }));
}

TEST(Hdf5File, NamesWhatCannotBeOpened) {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/in.h5";
  auto open_error = [&] { return data_error([&] { Hdf5Reader file(path); }); };
  expect_in("cannot open '" + path + "': No such file", open_error());
  fs::create_directory(path);
  expect_in("'" + path + "' is not a file", open_error());
  fs::remove(path);
  write_text(path, "");
  expect_in("is not an HDF5 file", open_error());
  write_text(path, "q,k,v\n");
  expect_in("is not an HDF5 file", open_error());
  fs::remove(path);
  Hdf5Writer writer;
  writer.write("q", {1000}, counting({1000}).data());
  writer.save(path);
  fs::resize_file(path, 1000);
  expect_in("'" + path + "' is damaged, truncated or still being written: truncated file", open_error());
}

TEST(Hdf5File, AttributesOfTheRoot) {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/out.h5";
  Hdf5Writer writer;
  writer.set_attribute("/", "placement", std::string("zigzag"));
  writer.set_attribute("/", "empty", std::string());
  writer.set_attribute("/", "ranks", int64_t{3});
  writer.set_attribute("/", "bytes_sent_forward", std::vector<int64_t>{1, int64_t{1} << 40, 3});
  writer.set_attribute("/", "seconds_forward", std::vector<double>{0.1, 1e-300, 3});
  writer.save(path);
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  char text[16] = {};
  int64_t ranks = 0, bytes[3] = {};
  double seconds[3] = {};
  auto read = [&](const char* name, hid_t type, void* out) {
    const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT), own = H5Aget_type(attribute);
    EXPECT_EQ(H5Tis_variable_str(own), 0) << name;
    EXPECT_GE(H5Aread(attribute, type == H5T_C_S1 ? own : type, out), 0) << name;
    EXPECT_GE(H5Tclose(own) + H5Aclose(attribute), 0);
  };
  read("placement", H5T_C_S1, text);
  EXPECT_STREQ(text, "zigzag");
  read("ranks", H5T_NATIVE_INT64, &ranks);
  EXPECT_EQ(ranks, 3);
  read("bytes_sent_forward", H5T_NATIVE_INT64, bytes);
  EXPECT_EQ(bytes[1], int64_t{1} << 40);
  read("seconds_forward", H5T_NATIVE_DOUBLE, seconds);
  EXPECT_EQ(seconds[0], 0.1);
  EXPECT_EQ(seconds[1], 1e-300);

  const float scale = 0.125f;
  const hid_t space = H5Screate(H5S_SCALAR),
              attribute = H5Acreate2(file, "softmax_scale", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT);
  ASSERT_GE(H5Awrite(attribute, H5T_NATIVE_FLOAT, &scale), 0);
  ASSERT_TRUE(H5Aclose(attribute) >= 0 && H5Sclose(space) >= 0 && H5Fclose(file) >= 0);
  const Hdf5Reader reader(path);
  EXPECT_EQ(reader.number_attribute("softmax_scale"), 0.125);
  EXPECT_EQ(reader.number_attribute("none"), std::nullopt);
  expect_in("attribute 'ranks' of '" + path + "' is not one float32 or float64",
            data_error([&] { reader.number_attribute("ranks"); }));
  expect_in("is not one float32", data_error([&] { reader.number_attribute("placement"); }));
  expect_in("is not one float32", data_error([&] { reader.number_attribute("seconds_forward"); }));
}

TEST(Hdf5File, SavesWholeOrNotAtAll) {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/out.h5";
  auto save_number = [&](const std::string& to, float number) {
    Hdf5Writer writer;
    writer.write("x", {1}, &number);
    writer.save(to);
  };
  write_text(path + ".tmp", "left by a run that was killed");
  save_number(path, 1);
  save_number(path, 2);  // replaces
  float read = 0;
  Hdf5Reader(path).read("x", {0}, {1}, &read);
  EXPECT_EQ(read, 2);
  expect_in("cannot write '" + directory.path + "/none/out.h5.tmp': No such file",
            error_of(ExitCode::kStorage, [&] { save_number(directory.path + "/none/out.h5", 3); }));
  fs::create_directories(directory.path + "/there.h5/x");
  expect_in("cannot rename", error_of(ExitCode::kStorage, [&] { save_number(directory.path + "/there.h5", 3); }));
  EXPECT_EQ(names_in(directory.path), (std::vector<std::string>{"out.h5", "there.h5"}));
}

TEST(Hdf5File, ManyThreadsBuildAndReadAtOnceInSilence) {
  const TemporaryDirectory directory;
  testing::internal::CaptureStderr();
  run_ranks(6, [&](Group& ranks) {
    const std::string path = directory.path + "/" + std::to_string(ranks.rank());
    for (int round = 0; round < 10; ++round) {
      const Shape shape = {100 + ranks.rank(), 7};
      std::vector<float> values = counting(shape), read(values.size());
      values[0] = static_cast<float>(round * 10 + ranks.rank());
      Hdf5Writer writer;
      writer.write("x", shape, values.data());
      EXPECT_THROW(writer.write("x", shape, values.data()), UserError);  // is there already
      writer.save(path);
      const Hdf5Reader file(path);
      file.read("x", {0, 0}, shape, read.data());
      EXPECT_EQ(read, values);
    }
  });
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Hdf5File, LoadsNoPluginsAndFollowsNoExternalLinks) {
  const Hdf5Writer any;
  unsigned plugins = ~0u;
  EXPECT_GE(H5PLget_loading_state(&plugins), 0);
  EXPECT_EQ(plugins, 0u);
  EXPECT_EQ(H5Lis_registered(H5L_TYPE_EXTERNAL), 0);
}

TEST(Hdf5Disk, WritesNewFilesOnly) {
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/file";
  write_new_file(path, "abc");
  EXPECT_EQ(read_text(path), "abc");
  expect_in("File exists", error_of(ExitCode::kStorage, [&] { write_new_file(path, "x"); }));
  fs::create_symlink(directory.path + "/elsewhere", directory.path + "/link");
  expect_in("File exists", error_of(ExitCode::kStorage, [&] { write_new_file(directory.path + "/link", "x"); }));
  EXPECT_FALSE(fs::exists(directory.path + "/elsewhere"));
  EXPECT_EQ(read_whole_file(path, 3, ExitCode::kData).size(), 3u);
  expect_in("has 3 bytes where at most 2 belong", data_error([&] { read_whole_file(path, 2, ExitCode::kData); }));
  expect_in("it is a link", data_error([&] { read_whole_file(directory.path + "/link", 2, ExitCode::kData); }));
  expect_in("not a regular file", data_error([&] { read_whole_file("/dev/zero", 2, ExitCode::kData); }));
}

}  // namespace
}  // namespace annulus::test
