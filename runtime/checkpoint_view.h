#pragma once
// view.h5: virtual datasets that show every tensor of a checkpoint whole, for h5py, h5ls and people.
#include <string>

#include "runtime/checkpoint_manifest.h"
#include "runtime/checkpoint_rows.h"

namespace annulus {

/// Writes directory/view.h5, which shows the rows where `coverage` says they are: file names in the same directory, so
/// that the directory can be moved. Throws UserError (73).
ManifestFile write_view(const std::string& directory, const RowCoverage& coverage);

}  // namespace annulus
