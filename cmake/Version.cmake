# The commit, for `annulus --version`, checkpoints and metrics: read at every build, written only when it changed.
set(ANNULUS_VERSION_HEADER ${PROJECT_BINARY_DIR}/generated/annulus_version.h)
