#include "runtime/hdf5_part.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/core/error.h"
#include "runtime/hdf5_handle.h"

namespace annulus {
namespace {

constexpr ExitCode kCode = ExitCode::kCheckpoint;
constexpr int kMostLevels = 32;

// ---- opening the caller's bytes as a file, without a copy of them

struct Image {
  void* bytes;
  size_t size;
};

void* lend(size_t size, H5FD_file_image_op_t, void* image) {
  return size <= static_cast<Image*>(image)->size ? static_cast<Image*>(image)->bytes : nullptr;
}
void* copy_nothing(void* to, const void* from, size_t, H5FD_file_image_op_t, void*) {
  return to == from ? to : nullptr;
}
void* refuse_to_grow(void*, size_t, H5FD_file_image_op_t, void*) { return nullptr; }
herr_t keep(void*, H5FD_file_image_op_t, void*) { return 0; }
void* same(void* image) { return image; }
herr_t keep_image(void*) { return 0; }

Hdf5FileId open_image(Image& image) {
  const Hdf5PropertiesId access = hdf5_memory_access(kCode, 1 << 16);
  H5FD_file_image_callbacks_t callbacks = {lend, copy_nothing, refuse_to_grow, keep, same, keep_image, &image};
  hdf5_checked(kCode, H5Pset_file_image_callbacks(access.get(), &callbacks), "an HDF5 file in memory");
  hdf5_checked(kCode, H5Pset_file_image(access.get(), image.bytes, image.size), "an HDF5 file in memory");
  const std::string name = unique_hdf5_name();
  return Hdf5FileId(
      hdf5_checked(kCode, H5Fopen(name.c_str(), H5F_ACC_RDONLY, access.get()), "it is not a whole HDF5 file"));
}

// ---- walking it

struct Link {
  std::string name;
  H5L_type_t type;
};

herr_t append_link(hid_t, const char* name, const H5L_info_t* info, void* links) {
  try {
    static_cast<std::vector<Link>*>(links)->push_back({name, info->type});
    return 0;
  } catch (const std::exception&) {  // must not pass through C
    return -1;
  }
}

class PartParser {
 public:
  explicit PartParser(std::span<const std::byte> image) : image_(image) {}

  PartContents parse() {
    Image image = {const_cast<std::byte*>(image_.data()), image_.size()};  // opened read-only
    const Hdf5FileId file = open_image(image);
    const Hdf5ObjectId root(hdf5_checked(kCode, H5Oopen(file.get(), "/", H5P_DEFAULT), "its root group"));
    walk(root.get(), "", 0);
    return std::move(contents_);
  }

 private:
  void walk(hid_t group, const std::string& path, int level) {
    require(kCode, level < kMostLevels, "its groups are nested more than ", kMostLevels, " deep");
    std::vector<Link> links;
    hdf5_checked(kCode, H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, append_link, &links), "cannot list ",
                 path, "/");
    for (const Link& link : links) {
      RowRange range = {path + "/" + link.name, {1}, 0, 1, Dtype::kF32};
      require(kCode, problem_of(range).empty(), "the name of something in ", path, "/ is not one that annulus writes");
      require(kCode, link.type == H5L_TYPE_HARD, range.name, " is a soft or external link, which is refused");
      const Hdf5ObjectId object(
          hdf5_checked(kCode, H5Oopen(group, link.name.c_str(), H5P_DEFAULT), "cannot open ", range.name));
      H5O_info_t info;
      hdf5_checked(kCode, H5Oget_info2(object.get(), &info, H5O_INFO_BASIC), "cannot open ", range.name);
      require(kCode, info.rc == 1, range.name, " has ", info.rc, " links, where one belongs");
      require(kCode, info.type == H5O_TYPE_GROUP || info.type == H5O_TYPE_DATASET, range.name, " is not a dataset");
      if (info.type == H5O_TYPE_GROUP)
        walk(object.get(), range.name, level + 1);
      else if (range.name == kConfigName)
        read_config(object.get());
      else
        read_rows(object.get(), std::move(range));
    }
  }

  void read_config(hid_t dataset) {
    const std::vector<int64_t> dims = checked_dims(dataset, kConfigName);
    require(kCode, has_type(dataset, H5T_STD_U8LE, kConfigName), kConfigName, " is not of type uint8, little endian");
    require(kCode, dims.size() == 1, kConfigName, " is not one-dimensional");
    const std::byte* text = dims[0] > 0 ? data_of(dataset, dims[0], kConfigName) : nullptr;
    contents_.config = std::string(reinterpret_cast<const char*>(text), static_cast<size_t>(dims[0]));
  }

  void read_rows(hid_t dataset, RowRange range) {
    const std::vector<int64_t> dims = checked_dims(dataset, range.name);
    range.dtype = dtype_of_rows(dataset, range.name);
    require(kCode, dims.size() == 1 || dims.size() == 2, range.name, " has ", dims.size(), " dimensions, not 1 or 2");
    range.shape = {};
    for (const int64_t dim : integers(dataset, range.name, "global_shape", dims.size())) {
      require(kCode, dim >= 1, range.name, ": its global shape has a dimension of ", dim);
      range.shape.append(dim);
    }
    range.first_row = integers(dataset, range.name, "first_row", 0)[0];
    range.rows = integers(dataset, range.name, "rows", 0)[0];
    check_dtype(dataset, range);
    const std::string problem = problem_of(range);
    require(kCode, problem.empty(), problem);
    require(kCode, dims[0] == range.rows && (dims.size() == 1 || dims[1] == range.shape[1]), range.name,
            " holds other rows than its attributes say");
    contents_.rows.push_back({range, data_of(dataset, range.bytes(), range.name)});
  }

  // The dimensions of a contiguous dataset whose bytes lie in this file as they will be in memory.
  std::vector<int64_t> checked_dims(hid_t dataset, const std::string& name) {
    const Hdf5PropertiesId created(hdf5_checked(kCode, H5Dget_create_plist(dataset), name));
    // The layout first: asking a virtual dataset for its extent may open other files.
    require(kCode, H5Pget_layout(created.get()) == H5D_CONTIGUOUS, name, " is not contiguous");
    require(kCode, H5Pget_external_count(created.get()) == 0, name,
            " keeps its elements in another file, which is refused");
    require(kCode, H5Pget_nfilters(created.get()) == 0, name, " passes through a filter, which is refused");
    const Hdf5SpaceId space(hdf5_checked(kCode, H5Dget_space(dataset), name));
    return dims_of(space.get(), name);
  }

  static bool has_type(hid_t dataset, hid_t expected, const std::string& name) {
    const Hdf5TypeId type(hdf5_checked(kCode, H5Dget_type(dataset), name));
    return H5Tequal(type.get(), expected) > 0;
  }

  static Dtype dtype_of_rows(hid_t dataset, const std::string& name) {
    for (const Dtype dtype : {Dtype::kF32, Dtype::kBf16})
      if (has_type(dataset, hdf5_float_type(kCode, dtype).get(), name)) return dtype;
    fail(kCode, name, " is not of type float32 or bfloat16, little endian");
  }

  static std::vector<int64_t> dims_of(hid_t space, const std::string& name) {
    const int rank = hdf5_checked(kCode, H5Sget_simple_extent_ndims(space), name);
    std::array<hsize_t, H5S_MAX_RANK> dims{};
    hdf5_checked(kCode, H5Sget_simple_extent_dims(space, dims.data(), nullptr), name);
    std::vector<int64_t> sizes;
    for (int i = 0; i < rank; ++i) {
      require(kCode, dims[static_cast<size_t>(i)] < hsize_t{1} << 62, name, " declares a dimension of ",
              dims[static_cast<size_t>(i)]);
      sizes.push_back(static_cast<int64_t>(dims[static_cast<size_t>(i)]));
    }
    return sizes;
  }

  // Where `bytes` of the dataset are in the image.
  const std::byte* data_of(hid_t dataset, int64_t bytes, const std::string& name) {
    const auto size = static_cast<uint64_t>(bytes);
    const haddr_t offset = H5Dget_offset(dataset);
    require(kCode,
            offset != HADDR_UNDEF && H5Dget_storage_size(dataset) == size && offset <= image_.size() &&
                size <= image_.size() - offset,
            name, " declares ", bytes, " bytes that are not in the file");
    return image_.data() + offset;
  }

  // An attribute of `count` 64-bit integers; 0: a scalar.
  static std::vector<int64_t> integers(hid_t dataset, const std::string& name, const char* attribute_name,
                                       size_t count) {
    const Hdf5AttributeId attribute = open_attribute(dataset, name, attribute_name);
    const Hdf5TypeId type(hdf5_checked(kCode, H5Aget_type(attribute.get()), name));
    const Hdf5SpaceId space(hdf5_checked(kCode, H5Aget_space(attribute.get()), name));
    const std::vector<int64_t> dims = dims_of(space.get(), name);
    const std::vector<int64_t> expected(count == 0 ? 0 : 1, static_cast<int64_t>(count));
    require(kCode,
            H5Tequal(type.get(), H5T_STD_I64LE) > 0 && dims == expected &&
                H5Sget_simple_extent_type(space.get()) != H5S_NULL,
            name, ": attribute ", attribute_name, " is not of type int64 or has another shape");
    std::vector<int64_t> values(std::max<size_t>(count, 1));
    hdf5_checked(kCode, H5Aread(attribute.get(), H5T_NATIVE_INT64, values.data()), name, ": attribute ",
                 attribute_name);
    return values;
  }

  static void check_dtype(hid_t dataset, const RowRange& range) {
    const std::string& name = range.name;
    const Hdf5AttributeId attribute = open_attribute(dataset, name, "dtype");
    const Hdf5TypeId type(hdf5_checked(kCode, H5Aget_type(attribute.get()), name));
    const Hdf5SpaceId space(hdf5_checked(kCode, H5Aget_space(attribute.get()), name));
    char text[8] = {};
    require(kCode,
            H5Tget_class(type.get()) == H5T_STRING && H5Tis_variable_str(type.get()) == 0 &&
                H5Tget_size(type.get()) < sizeof text && H5Sget_simple_extent_npoints(space.get()) == 1,
            name, ": attribute dtype is not one short string of fixed length");
    hdf5_checked(kCode, H5Aread(attribute.get(), type.get(), text), name, ": attribute dtype");
    require(kCode, std::strcmp(text, name_of(range.dtype)) == 0, name, ": attribute dtype is not ",
            name_of(range.dtype));
  }

  static Hdf5AttributeId open_attribute(hid_t dataset, const std::string& name, const char* attribute_name) {
    return Hdf5AttributeId(
        hdf5_checked(kCode, H5Aopen(dataset, attribute_name, H5P_DEFAULT), name, ": no attribute ", attribute_name));
  }

  std::span<const std::byte> image_;
  PartContents contents_;
};

}  // namespace

PartContents parse_part(std::span<const std::byte> image) {
  const Hdf5Lock lock;
  return PartParser(image).parse();
}

}  // namespace annulus
