// Checkpoints that somebody made on purpose, with good digests: HDF5 can do much that a part must not.
#include <gtest/gtest.h>

#include "runtime/hdf5_handle.h"
#include "tests/runtime/checkpoint_case.h"

namespace annulus::test {
namespace {

void must(int64_t result) {
  if (result < 0) throw std::logic_error("the test cannot make its file");
}

hid_t made(hid_t id) {
  must(id);
  return id;
}

hid_t space_of(const std::vector<hsize_t>& dims) {
  return made(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr));
}

void set_integers(hid_t object, const char* name, const std::vector<int64_t>& values, bool scalar) {
  if (H5Aexists(object, name) > 0) must(H5Adelete(object, name));
  const hid_t space = scalar ? made(H5Screate(H5S_SCALAR)) : space_of({values.size()});
  const hid_t attribute = made(H5Acreate2(object, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT));
  must(H5Awrite(attribute, H5T_NATIVE_INT64, values.data()));
}

void set_text(hid_t object, const char* name, const char* text, size_t size) {
  if (H5Aexists(object, name) > 0) must(H5Adelete(object, name));
  const hid_t type = made(H5Tcopy(H5T_C_S1));
  must(H5Tset_size(type, size));
  const hid_t attribute = made(H5Acreate2(object, name, type, made(H5Screate(H5S_SCALAR)), H5P_DEFAULT, H5P_DEFAULT));
  std::string padded = text;
  if (size != H5T_VARIABLE) padded.resize(size);
  must(size == H5T_VARIABLE ? H5Awrite(attribute, type, &text) : H5Awrite(attribute, type, padded.data()));
}

/// A dataset "/evil" with right attributes, of any type and with any creation properties.
hid_t add_dataset(hid_t file, const std::vector<hsize_t>& dims, hid_t type = H5T_IEEE_F32LE,
                  hid_t properties = H5P_DEFAULT, bool with_data = true) {
  const hid_t dataset = made(H5Dcreate2(file, "/evil", type, space_of(dims), H5P_DEFAULT, properties, H5P_DEFAULT));
  if (with_data) {
    const std::vector<char> zeros(1 << 16);
    must(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, zeros.data()));
  }
  set_integers(dataset, "global_shape", {dims.begin(), dims.end()}, false);
  set_integers(dataset, "first_row", {0}, true);
  set_integers(dataset, "rows", {static_cast<int64_t>(dims[0])}, true);
  set_text(dataset, "dtype", "f32", 4);
  return dataset;
}

hid_t bf16() { return hdf5_float_type(ExitCode::kCheckpoint, Dtype::kBf16).release(); }

hid_t made_properties(const std::function<int64_t(hid_t)>& set) {
  const hid_t properties = made(H5Pcreate(H5P_DATASET_CREATE));
  must(set(properties));
  return properties;
}

hid_t open_embedding(hid_t file) { return made(H5Dopen2(file, "/model/embedding", H5P_DEFAULT)); }

void add_external_link(hid_t file) {
  // annulus has unregistered external links in this process: a class of the same number lets us write one.
  const H5L_class_t external = {
      H5L_LINK_CLASS_T_VERS, H5L_TYPE_EXTERNAL, "external", nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  H5L_class_t with_traversal = external;
  with_traversal.trav_func = [](const char*, hid_t, const void*, size_t, hid_t, hid_t) -> hid_t { return -1; };
  must(H5Lregister(&with_traversal));
  const std::string target("\0/etc/passwd\0/evil\0", 19);
  const herr_t linked =
      H5Lcreate_ud(file, "/evil", H5L_TYPE_EXTERNAL, target.data(), target.size(), H5P_DEFAULT, H5P_DEFAULT);
  must(H5Lunregister(H5L_TYPE_EXTERNAL));
  must(linked);
}

struct Hostile {
  std::string what;
  std::function<void(hid_t file)> change;
  std::string expected;
};

const std::vector<Hostile> kHostile = {
    {"external link", add_external_link, "/evil is a soft or external link"},
    {"soft link", [](hid_t file) { must(H5Lcreate_soft("/model/embedding", file, "/evil", H5P_DEFAULT, H5P_DEFAULT)); },
     "/evil is a soft or external link"},
    {"second hard link",
     [](hid_t file) { must(H5Lcreate_hard(file, "/model/embedding", file, "/evil", H5P_DEFAULT, H5P_DEFAULT)); },
     "has 2 links"},
    {"cycle", [](hid_t file) { must(H5Lcreate_hard(file, "/model", file, "/model/loop", H5P_DEFAULT, H5P_DEFAULT)); },
     "/model has 2 links"},
    {"cycle over the root",
     [](hid_t file) { must(H5Lcreate_hard(file, "/", file, "/loop", H5P_DEFAULT, H5P_DEFAULT)); }, "/loop"},
    {"external storage",
     [](hid_t file) {
       const hid_t external = made_properties([](hid_t p) { return H5Pset_external(p, "/etc/passwd", 0, 16); });
       add_dataset(file, {2, 2}, H5T_IEEE_F32LE, external, false);
     },
     "/evil keeps its elements in another file"},
    {"filter",
     [](hid_t file) {
       const hsize_t chunk[] = {2, 2};
       add_dataset(file, {2, 2}, H5T_IEEE_F32LE,
                   made_properties([&](hid_t p) { return H5Pset_chunk(p, 2, chunk) + H5Pset_deflate(p, 5); }));
     },
     "/evil is not contiguous"},
    {"chunks",
     [](hid_t file) {
       const hsize_t chunk[] = {2, 2};
       add_dataset(file, {2, 2}, H5T_IEEE_F32LE, made_properties([&](hid_t p) { return H5Pset_chunk(p, 2, chunk); }));
     },
     "/evil is not contiguous"},
    {"compact",
     [](hid_t file) {
       add_dataset(file, {2, 2}, H5T_IEEE_F32LE,
                   made_properties([](hid_t p) { return H5Pset_layout(p, H5D_COMPACT); }));
     },
     "/evil is not contiguous"},
    {"virtual",
     [](hid_t file) {
       add_dataset(file, {2, 2}, H5T_IEEE_F32LE, made_properties([](hid_t p) {
                     return H5Pset_virtual(p, space_of({2, 2}), "/etc/passwd", "/x", space_of({2, 2}));
                   }),
                   false);
     },
     "/evil is not contiguous"},
    {"float64",
     [](hid_t file) {
       add_dataset(file, {2, 2}, H5T_IEEE_F64LE);
     },
     "/evil is not of type float32"},
    {"big endian",
     [](hid_t file) {
       add_dataset(file, {2, 2}, H5T_IEEE_F32BE);
     },
     "/evil is not of type float32"},
    {"int32",
     [](hid_t file) {
       add_dataset(file, {2, 2}, H5T_STD_I32LE);
     },
     "/evil is not of type float32"},
    {"references", [](hid_t file) { add_dataset(file, {2}, H5T_STD_REF_OBJ); }, "/evil is not of type float32"},
    {"variable length", [](hid_t file) { add_dataset(file, {2}, made(H5Tvlen_create(H5T_IEEE_F32LE))); },
     "/evil is not of type float32"},
    {"three dimensions",
     [](hid_t file) {
       add_dataset(file, {2, 2, 2});
     },
     "/evil has 3 dimensions"},
    {"no dimension",
     [](hid_t file) {
       must(H5Dcreate2(file, "/evil", H5T_IEEE_F32LE, made(H5Screate(H5S_SCALAR)), H5P_DEFAULT, H5P_DEFAULT,
                       H5P_DEFAULT));
     },
     "/evil has 0 dimensions"},
    {"null space",
     [](hid_t file) {
       must(
           H5Dcreate2(file, "/evil", H5T_IEEE_F32LE, made(H5Screate(H5S_NULL)), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
     },
     "/evil has 0 dimensions"},
    {"huge, without data",
     [](hid_t file) {
       add_dataset(file, {1 << 30, 1 << 10}, H5T_IEEE_F32LE, H5P_DEFAULT, false);
     },
     "bytes that are not in the file"},
    {"huger than memory", [](hid_t file) { add_dataset(file, {hsize_t{1} << 60}, H5T_IEEE_F32LE, H5P_DEFAULT, false); },
     "has shape (1152921504606846976)"},
    {"named type",
     [](hid_t file) {
       must(H5Tcommit2(file, "/evil", made(H5Tcopy(H5T_IEEE_F32LE)), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
     },
     "/evil is not a dataset"},
    {"name with a blank", [](hid_t file) { must(H5Gcreate2(file, "/a b", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); },
     "the name of something in /"},
    {"name of dots", [](hid_t file) { must(H5Gcreate2(file, "/model/..", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); },
     "the name of something in /model/"},
    {"deep groups",
     [](hid_t file) {
       hid_t group = file;
       for (int i = 0; i < 200; ++i) group = made(H5Gcreate2(group, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
     },
     "nested more than"},
    {"no attributes", [](hid_t file) { must(H5Adelete(open_embedding(file), "rows")); },
     "/model/embedding: no attribute rows"},
    {"rows attribute too small", [](hid_t file) { set_integers(open_embedding(file), "rows", {1}, true); },
     "holds other rows"},
    {"rows attribute of two",
     [](hid_t file) {
       set_integers(open_embedding(file), "rows", {1, 2}, false);
     },
     "attribute rows"},
    {"negative first row", [](hid_t file) { set_integers(open_embedding(file), "first_row", {-1}, true); },
     "do not lie in"},
    {"first row behind the end", [](hid_t file) { set_integers(open_embedding(file), "first_row", {INT64_MAX}, true); },
     "do not lie in"},
    {"wrong row length",
     [](hid_t file) {
       set_integers(open_embedding(file), "global_shape", {61, 13}, false);
     },
     "holds other rows"},
    {"shape of one dimension", [](hid_t file) { set_integers(open_embedding(file), "global_shape", {61}, false); },
     "attribute global_shape"},
    {"overflowing shape",
     [](hid_t file) {
       set_integers(open_embedding(file), "global_shape", {INT64_MAX, 12}, false);
     },
     "has shape"},
    {"another dtype", [](hid_t file) { set_text(open_embedding(file), "dtype", "f64", 4); },
     "attribute dtype is not f32"},
    {"bf16 called f32", [](hid_t file) { add_dataset(file, {4}, bf16()); }, "attribute dtype is not bf16"},
    {"another float of two bytes",
     [](hid_t file) {
       const hid_t half = bf16();
       must(H5Tset_ebias(half, 15));
       set_text(add_dataset(file, {4}, half), "dtype", "bf16", 5);
     },
     "/evil is not of type float32 or bfloat16"},
    {"rows of another dtype than those of the other parts",
     [](hid_t file) {
       must(H5Ldelete(file, "/model/embedding", H5P_DEFAULT));
       const hid_t rows = add_dataset(file, {30, 12}, bf16());
       set_integers(rows, "global_shape", {61, 12}, false);
       set_text(rows, "dtype", "bf16", 5);
       must(H5Lmove(file, "/evil", file, "/model/embedding", H5P_DEFAULT, H5P_DEFAULT));
     },
     "/model/embedding is bf16"},
    {"long dtype", [](hid_t file) { set_text(open_embedding(file), "dtype", "f32", 5000); }, "one short string"},
    {"dtype of variable length", [](hid_t file) { set_text(open_embedding(file), "dtype", "f32", H5T_VARIABLE); },
     "one short string"},
    {"config of floats",
     [](hid_t file) {
       must(H5Ldelete(file, "/config", H5P_DEFAULT));
       must(H5Dcreate2(file, "/config", H5T_IEEE_F32LE, space_of({4}), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
     },
     "/config is not of type uint8"},
    {"no config", [](hid_t file) { must(H5Ldelete(file, "/config", H5P_DEFAULT)); }, "lacks the config"},
    {"rows that are stored elsewhere too",
     [](hid_t file) {
       const hid_t dataset = open_embedding(file);
       set_integers(dataset, "first_row", {31}, true);
     },
     "and again in part-00001-00.h5"},
    {"missing rows", [](hid_t file) { must(H5Ldelete(file, "/model/embedding", H5P_DEFAULT)); },
     " of /model/embedding are not there"},
};

/// Opens the first part for `change`, closes it with all that was opened, and makes the digests right.
void change_part(const Damaged& checkpoint, const std::function<void(hid_t)>& change) {
  const hid_t access = made(H5Pcreate(H5P_FILE_ACCESS));
  must(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG));
  const hid_t file = made(H5Fopen(checkpoint.file(kFirstPartName).c_str(), H5F_ACC_RDWR, access));
  change(file);
  must(H5Fclose(file));
  repair_digests(checkpoint.path);
}

TEST(CheckpointHostile, HostilePartsAreRefused) {
  for (const Hostile& hostile : kHostile) {
    SCOPED_TRACE(hostile.what);
    const Damaged checkpoint;
    change_part(checkpoint, hostile.change);
    for (const int ranks : {1, 3}) {
      const std::string error = checkpoint.error(ranks);
      expect_in(hostile.expected, error);
      // What the parts say together is wrong, and no single one.
      const bool of_all_parts = hostile.what == "missing rows" || hostile.what.starts_with("rows of another dtype");
      expect_in("part-00000-00.h5", of_all_parts ? error + kFirstPartName : error);
    }
  }
}

TEST(CheckpointHostile, DimensionsLargerThanTheFileAreRefused) {
  const Damaged checkpoint;
  std::string bytes = read_text(checkpoint.file(kFirstPartName));
  // 30 rows of the embedding are there: say 2^40 wherever it says 30 or 61, in the dataspace and in the attributes.
  const int64_t huge = int64_t{1} << 40;
  int changed = 0;
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    int64_t value = 0;
    std::memcpy(&value, &bytes[at], 8);
    if (value != 30 && value != 61) continue;
    std::memcpy(&bytes[at], &huge, 8);
    ++changed;
  }
  ASSERT_GE(changed, 4);
  write_text(checkpoint.file(kFirstPartName), bytes);
  repair_digests(checkpoint.path);
  expect_in("bytes that are not in the file", checkpoint.error());
}

TEST(CheckpointHostile, ConfigOfAnotherRunIsRefused) {
  const Damaged checkpoint;
  change_part(checkpoint, [](hid_t file) {
    const hid_t config = made(H5Dopen2(file, "/config", H5P_DEFAULT));
    const std::string other(4096, 'x');
    must(H5Dwrite(config, H5T_STD_U8LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, other.data()));
  });
  expect_in("is not the one that MANIFEST names", error_of_run_state(checkpoint.path));
}

}  // namespace
}  // namespace annulus::test
