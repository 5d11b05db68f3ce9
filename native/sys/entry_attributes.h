// Owner, mode, xattrs and times of what was made.
#pragma once

#include <vector>

#include "sys/tree_entry.h"

namespace seekable::sys {

using TreeNotices = std::vector<TreeNotice>;

// An owner or an xattr that the user or the file system can't have, as errno says, is no reason to give up
// the tree.
void take_notice(TreeNotices& notices, const TreeEntry& entry, std::string subject);

// Owner, then mode (a new owner clears setuid), then xattrs (a new mode changes an ACL), then times.
// Returns 0 or the errno of what must not fail.
int set_open_attributes(int descriptor, const TreeEntry& entry, bool owners, TreeNotices& notices);

// The same for what can't be opened (links, devices), by a handle (O_PATH) on it. A link has no mode.
int set_handle_attributes(int handle, const TreeEntry& entry, bool owners, TreeNotices& notices);

// The path that an open descriptor is reached by: for calls that have no variant for handles. It leads to a
// link itself, where the descriptor is one's.
std::string path_of(int descriptor);

}  // namespace seekable::sys
