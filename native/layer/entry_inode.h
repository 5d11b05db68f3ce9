// A tar entry as an inode.
#pragma once

#include "base/error.h"
#include "erofs/tree.h"
#include "layer/warnings.h"
#include "tar/reader.h"

namespace seekable::layer {

// A new inode with all that `entry` says, to be added to `tree`; a directory is none yet
// (TreeBuilder::add()). Takes the entry's xattrs away. kRefused (without `what`): a link target or device
// number that EROFS can't hold, an xattr beyond its limits. REQUIRES: not a hard link.
Result<erofs::Inode> make_inode(tar::Entry& entry, erofs::Tree& tree, Warnings& warnings);

// Gives `inode` the entry's permissions, owner and time, and adds its xattrs over those that are there.
Status apply_metadata(tar::Entry& entry, erofs::Tree& tree, Warnings& warnings, erofs::Inode& inode);

// True if apply_metadata would change permissions, owner or time.
bool metadata_differs(const tar::Entry& entry, const erofs::Inode& inode);

}  // namespace seekable::layer
