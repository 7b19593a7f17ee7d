#include "runtime/hdf5_file.h"

#include <sys/stat.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <type_traits>

#include "runtime/hdf5_disk.h"

namespace annulus {
namespace {

constexpr size_t kGrowth = size_t{1} << 16;

using Dims = std::array<hsize_t, Shape::kMaxRank>;

Dims dims_of(const Shape& shape) {
  Dims dims{};
  for (int i = 0; i < shape.rank(); ++i) dims[static_cast<size_t>(i)] = static_cast<hsize_t>(shape[i]);
  return dims;
}

// "64-bit float", for messages.
std::string describe(hid_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  const char* name = kind == H5T_FLOAT ? "float" : kind == H5T_INTEGER ? "integer" : "non-numeric";
  return concat(8 * H5Tget_size(type), "-bit ", name);
}

// ---- reading

herr_t append_name(hid_t, const char* name, const H5L_info_t*, void* names) {
  try {
    static_cast<std::vector<std::string>*>(names)->emplace_back(name);
    return 0;
  } catch (const std::exception&) {  // must not pass through C
    return -1;
  }
}

Hdf5FileId open_for_reading(const std::string& path) {
  struct stat status = {};
  const bool found = stat(path.c_str(), &status) == 0;
  require(ExitCode::kData, found, "cannot open '", path, "': ", std::strerror(errno));
  require(ExitCode::kData, S_ISREG(status.st_mode), "'", path, "' is not a file; give an HDF5 file");
  const htri_t is_hdf5 = H5Fis_hdf5(path.c_str());
  require(ExitCode::kData, is_hdf5 >= 0, "cannot read '", path, "': ", hdf5_message(), "; check its permissions");
  require(ExitCode::kData, is_hdf5 > 0, "'", path, "' is not an HDF5 file; give one, for example written with h5py");
  Hdf5PropertiesId access(hdf5_checked(ExitCode::kData, H5Pcreate(H5P_FILE_ACCESS), path));
  hdf5_checked(ExitCode::kData, H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG), path);
  return Hdf5FileId(hdf5_checked(ExitCode::kData, H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), "'", path,
                                 "' is damaged, truncated or still being written"));
}

}  // namespace

Hdf5Reader::Hdf5Reader(const std::string& path) : path_(path) {
  const Hdf5Lock lock;
  file_ = open_for_reading(path);
}

std::vector<std::string> Hdf5Reader::datasets() const {
  const Hdf5Lock lock;
  std::vector<std::string> links, names;
  hdf5_checked(ExitCode::kData, H5Literate(file_.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, append_name, &links),
               "cannot list '", path_, "'");
  for (const std::string& link : links)
    if (has(link)) names.push_back(link);
  return names;
}

bool Hdf5Reader::has(const std::string& dataset) const {
  const Hdf5Lock lock;
  // Every group on the way is asked for by itself: H5Lexists fails where one is missing.
  for (size_t end = 0; end != std::string::npos;) {
    end = dataset.find('/', end + 1);
    const std::string prefix = dataset.substr(0, end);
    if (H5Lexists(file_.get(), prefix.c_str(), H5P_DEFAULT) <= 0) return false;
    if (H5Oexists_by_name(file_.get(), prefix.c_str(), H5P_DEFAULT) <= 0) return false;
  }
  const Hdf5ObjectId object(H5Oopen(file_.get(), dataset.c_str(), H5P_DEFAULT));
  return object.get() >= 0 && H5Iget_type(object.get()) == H5I_DATASET;
}

Hdf5DatasetId Hdf5Reader::open_dataset(const std::string& dataset) const {
  if (!has(dataset)) {
    std::string present;
    for (const std::string& name : datasets()) present += (present.empty() ? "" : ", ") + name;
    fail(ExitCode::kData, "'", path_, "' has no dataset '", dataset, "'; it has: ", present.empty() ? "none" : present);
  }
  return Hdf5DatasetId(hdf5_checked(ExitCode::kData, H5Dopen2(file_.get(), dataset.c_str(), H5P_DEFAULT),
                                    "cannot open dataset '", dataset, "' of '", path_, "'"));
}

Dtype Hdf5Reader::dtype(const std::string& dataset) const {
  const Hdf5Lock lock;
  const Hdf5DatasetId opened = open_dataset(dataset);
  const std::string where = concat("dataset '", dataset, "' of '", path_, "'");
  const Hdf5PropertiesId created(hdf5_checked(ExitCode::kData, H5Dget_create_plist(opened.get()), where));
  require(ExitCode::kData, H5Pget_external_count(created.get()) == 0, where,
          " keeps its elements in another file, which is refused; copy them into '", path_, "'");
  const Hdf5TypeId type(hdf5_checked(ExitCode::kData, H5Dget_type(opened.get()), where));
  const H5T_class_t kind = H5Tget_class(type.get());
  if (kind == H5T_FLOAT && H5Tget_size(type.get()) == 4) return Dtype::kF32;
  if (kind == H5T_INTEGER && H5Tget_size(type.get()) == 8 && H5Tget_sign(type.get()) == H5T_SGN_2) return Dtype::kI64;
  fail(ExitCode::kData, where, " holds ", describe(type.get()),
       " elements; only float32 and int64 are read, convert it");
}

Shape Hdf5Reader::shape(const std::string& dataset) const {
  const Hdf5Lock lock;
  const Hdf5DatasetId opened = open_dataset(dataset);
  const std::string where = concat("dataset '", dataset, "' of '", path_, "'");
  const Hdf5SpaceId space(hdf5_checked(ExitCode::kData, H5Dget_space(opened.get()), where));
  const int rank = hdf5_checked(ExitCode::kData, H5Sget_simple_extent_ndims(space.get()), where);
  require(ExitCode::kData, rank <= Shape::kMaxRank, where, " has ", rank, " dimensions; at most ", Shape::kMaxRank,
          " are read");
  Dims dims{};
  hdf5_checked(ExitCode::kData, H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), where);
  Shape shape;
  for (int i = 0; i < rank; ++i) {
    const hsize_t dim = dims[static_cast<size_t>(i)];
    require(ExitCode::kData, dim <= hsize_t{1} << 62, where, " declares ", dim, " elements in one dimension");
    shape.append(static_cast<int64_t>(dim));
  }
  return shape;
}

void Hdf5Reader::read(const std::string& dataset, const Shape& first, const Shape& count, float* out) const {
  read_block(dataset, first, count, Dtype::kF32, out);
}

void Hdf5Reader::read(const std::string& dataset, const Shape& first, const Shape& count, int64_t* out) const {
  read_block(dataset, first, count, Dtype::kI64, out);
}

void Hdf5Reader::read_block(const std::string& dataset, const Shape& first, const Shape& count, Dtype expected,
                            void* out) const {
  const Hdf5Lock lock;
  const std::string where = concat("dataset '", dataset, "' of '", path_, "'");
  const Dtype found = dtype(dataset);
  require(ExitCode::kData, found == expected, where, " holds ", name_of(found), " elements where ", name_of(expected),
          " belong; convert it");
  const Shape whole = shape(dataset);
  bool inside = first.rank() == whole.rank() && count.rank() == whole.rank();
  for (int i = 0; inside && i < whole.rank(); ++i) inside = first[i] <= whole[i] && count[i] <= whole[i] - first[i];
  require(ExitCode::kData, inside, where, " has shape ", whole.text(), ": there is no block of shape ", count.text(),
          " at ", first.text());
  if (count.numel() == 0) return;

  const Hdf5DatasetId opened = open_dataset(dataset);
  const Hdf5SpaceId space(hdf5_checked(ExitCode::kData, H5Dget_space(opened.get()), where));
  const Dims begin = dims_of(first), size = dims_of(count);
  if (whole.rank() > 0)
    hdf5_checked(ExitCode::kData,
                 H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, begin.data(), nullptr, size.data(), nullptr), where);
  const Hdf5SpaceId memory(hdf5_checked(ExitCode::kData, H5Screate_simple(count.rank(), size.data(), nullptr), where));
  const hid_t type = expected == Dtype::kF32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_INT64;
  hdf5_checked(ExitCode::kData, H5Dread(opened.get(), type, memory.get(), space.get(), H5P_DEFAULT, out),
               "cannot read ", where);
}

std::optional<double> Hdf5Reader::number_attribute(const std::string& name) const {
  const Hdf5Lock lock;
  const std::string where = concat("attribute '", name, "' of '", path_, "'");
  if (hdf5_checked(ExitCode::kData, H5Aexists(file_.get(), name.c_str()), where) == 0) return std::nullopt;
  const Hdf5AttributeId attribute(
      hdf5_checked(ExitCode::kData, H5Aopen(file_.get(), name.c_str(), H5P_DEFAULT), where));
  const Hdf5TypeId type(hdf5_checked(ExitCode::kData, H5Aget_type(attribute.get()), where));
  const Hdf5SpaceId space(hdf5_checked(ExitCode::kData, H5Aget_space(attribute.get()), where));
  require(ExitCode::kData, H5Tget_class(type.get()) == H5T_FLOAT && H5Sget_simple_extent_npoints(space.get()) == 1,
          where, " is not one float32 or float64 (it holds ", describe(type.get()),
          " elements); write it as numpy.float64");
  double value = 0.0;
  hdf5_checked(ExitCode::kData, H5Aread(attribute.get(), H5T_NATIVE_DOUBLE, &value), "cannot read ", where);
  return value;
}

std::string hdf5_library_version() {
  const Hdf5Lock lock;
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return concat(major, ".", minor, ".", release);
}

// ---- writing

namespace {

constexpr ExitCode kWriting = ExitCode::kStorage;
constexpr const char* kBuilding = "cannot build an HDF5 file in memory";

// Without times: the same content is the same bytes.
Hdf5PropertiesId without_times(hid_t kind) {
  Hdf5PropertiesId properties(hdf5_checked(kWriting, H5Pcreate(kind), kBuilding));
  hdf5_checked(kWriting, H5Pset_obj_track_times(properties.get(), false), kBuilding);
  return properties;
}

Hdf5SpaceId simple_space(const Shape& shape) {
  const Dims dims = dims_of(shape);
  return Hdf5SpaceId(hdf5_checked(kWriting, H5Screate_simple(shape.rank(), dims.data(), nullptr), kBuilding));
}

// How an attribute is stored: its type in the file, its dimensions and its bytes.
struct StoredAttribute {
  Hdf5TypeId type;
  Shape shape;
  const void* data;
};

StoredAttribute stored(const Hdf5Attribute& value) {
  auto copy_of = [](hid_t type) { return Hdf5TypeId(hdf5_checked(kWriting, H5Tcopy(type), kBuilding)); };
  return std::visit(
      [&](const auto& v) -> StoredAttribute {
        using Value = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<Value, std::string>) {
          Hdf5TypeId type = copy_of(H5T_C_S1);
          hdf5_checked(kWriting, H5Tset_size(type.get(), v.size() + 1), kBuilding);  // with the closing zero
          return {std::move(type), {}, v.c_str()};
        } else if constexpr (std::is_same_v<Value, int64_t>) {
          return {copy_of(H5T_STD_I64LE), {}, &v};
        } else if constexpr (std::is_same_v<Value, std::vector<int64_t>>) {
          return {copy_of(H5T_STD_I64LE), {static_cast<int64_t>(v.size())}, v.data()};
        } else {
          return {copy_of(H5T_IEEE_F64LE), {static_cast<int64_t>(v.size())}, v.data()};
        }
      },
      value);
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

Hdf5Writer::Hdf5Writer() {
  const Hdf5Lock lock;
  // The default format bounds: HDF5 1.10 cannot reopen images of its later formats.
  const Hdf5PropertiesId access = hdf5_memory_access(kWriting, kGrowth);
  const Hdf5PropertiesId create = without_times(H5P_FILE_CREATE);
  const std::string name = unique_hdf5_name();
  file_ =
      Hdf5FileId(hdf5_checked(kWriting, H5Fcreate(name.c_str(), H5F_ACC_EXCL, create.get(), access.get()), kBuilding));
}

Hdf5DatasetId Hdf5Writer::create_dataset(const std::string& dataset, const Shape& shape, hid_t type, hid_t properties) {
  const Hdf5PropertiesId link(hdf5_checked(kWriting, H5Pcreate(H5P_LINK_CREATE), kBuilding));
  hdf5_checked(kWriting, H5Pset_create_intermediate_group(link.get(), 1), kBuilding);
  const Hdf5SpaceId space = simple_space(shape);
  return Hdf5DatasetId(hdf5_checked(
      kWriting, H5Dcreate2(file_.get(), dataset.c_str(), type, space.get(), link.get(), properties, H5P_DEFAULT),
      kBuilding, ": dataset ", dataset));
}

void Hdf5Writer::write(const std::string& dataset, const Shape& shape, Dtype dtype, const void* data) {
  const Hdf5Lock lock;
  const Hdf5TypeId type = hdf5_float_type(kWriting, dtype);
  const Hdf5PropertiesId properties = without_times(H5P_DATASET_CREATE);
  const Hdf5DatasetId created = create_dataset(dataset, shape, type.get(), properties.get());
  if (shape.numel() == 0) return;
  hdf5_checked(kWriting, H5Dwrite(created.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data), kBuilding,
               ": dataset ", dataset);
}

void Hdf5Writer::write(const std::string& dataset, std::string_view text) {
  const Hdf5Lock lock;
  const Hdf5PropertiesId properties = without_times(H5P_DATASET_CREATE);
  const Shape shape = {static_cast<int64_t>(text.size())};
  const Hdf5DatasetId created = create_dataset(dataset, shape, H5T_STD_U8LE, properties.get());
  if (text.empty()) return;
  hdf5_checked(kWriting, H5Dwrite(created.get(), H5T_STD_U8LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()), kBuilding,
               ": dataset ", dataset);
}

void Hdf5Writer::write_virtual(const std::string& dataset, const Shape& shape, Dtype dtype,
                               const std::vector<Hdf5VirtualRows>& rows) {
  const Hdf5Lock lock;
  const Hdf5PropertiesId properties = without_times(H5P_DATASET_CREATE);
  const float missing = std::numeric_limits<float>::quiet_NaN();
  hdf5_checked(kWriting, H5Pset_fill_value(properties.get(), H5T_IEEE_F32LE, &missing), kBuilding);
  const Hdf5SpaceId whole = simple_space(shape);
  for (const Hdf5VirtualRows& source : rows) {
    Shape part = shape;
    part.set(0, source.rows);
    const Dims begin = {static_cast<hsize_t>(source.first_row)}, size = dims_of(part);
    hdf5_checked(kWriting,
                 H5Sselect_hyperslab(whole.get(), H5S_SELECT_SET, begin.data(), nullptr, size.data(), nullptr),
                 kBuilding);
    hdf5_checked(
        kWriting,
        H5Pset_virtual(properties.get(), whole.get(), source.file.c_str(), dataset.c_str(), simple_space(part).get()),
        kBuilding);
  }
  create_dataset(dataset, shape, hdf5_float_type(kWriting, dtype).get(), properties.get());
}

void Hdf5Writer::set_attribute(const std::string& object, const std::string& name, const Hdf5Attribute& value) {
  const Hdf5Lock lock;
  const Hdf5ObjectId owner(
      hdf5_checked(kWriting, H5Oopen(file_.get(), object.c_str(), H5P_DEFAULT), kBuilding, ": attribute of ", object));
  const StoredAttribute as = stored(value);
  const Hdf5SpaceId space = as.shape.rank() == 0 ? Hdf5SpaceId(hdf5_checked(kWriting, H5Screate(H5S_SCALAR), kBuilding))
                                                 : simple_space(as.shape);
  const Hdf5AttributeId attribute(hdf5_checked(
      kWriting, H5Acreate2(owner.get(), name.c_str(), as.type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), kBuilding,
      ": attribute ", name));
  if (as.shape.numel() > 0)
    hdf5_checked(kWriting, H5Awrite(attribute.get(), as.type.get(), as.data), kBuilding, ": attribute ", name);
}

std::span<const std::byte> Hdf5Writer::image() {
  const Hdf5Lock lock;
  hdf5_checked(kWriting, H5Fflush(file_.get(), H5F_SCOPE_GLOBAL), kBuilding);
  const ssize_t size = hdf5_checked(kWriting, H5Fget_file_image(file_.get(), nullptr, 0), kBuilding);
  void* memory = nullptr;  // the driver's own: no second copy of a large file
  hdf5_checked(kWriting, H5Fget_vfd_handle(file_.get(), H5P_DEFAULT, &memory), kBuilding);
  return {*static_cast<const std::byte* const*>(memory), static_cast<size_t>(size)};
}

void Hdf5Writer::save(const std::string& path) { replace_file(path, image()); }

}  // namespace annulus
