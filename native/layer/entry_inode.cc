#include "layer/entry_inode.h"

#include <sys/stat.h>

#include <string_view>

#include "erofs/format.h"
#include "erofs/xattr.h"
#include "layer/path.h"

namespace seekable::layer {
namespace {

constexpr size_t kMaxXattrName = 255;  // Linux's XATTR_NAME_MAX, prefix included
constexpr uint16_t kSymlinkPermissions =
    0777;  // Linux gives every symbolic link these, whatever the tar says

uint16_t type_bits(tar::EntryType type) {
  switch (type) {
    case tar::EntryType::kSymlink: return S_IFLNK;
    case tar::EntryType::kCharDevice: return S_IFCHR;
    case tar::EntryType::kBlockDevice: return S_IFBLK;
    case tar::EntryType::kDirectory: return S_IFDIR;
    case tar::EntryType::kFifo: return S_IFIFO;
    case tar::EntryType::kFile:
    case tar::EntryType::kHardLink: break;
  }
  return S_IFREG;
}

uint16_t permissions_on(const erofs::Inode& inode, const tar::Entry& entry) {
  return S_ISLNK(inode.mode) ? kSymlinkPermissions : entry.permissions;
}

Status take_xattrs(tar::Entry& entry, erofs::Tree& tree, Warnings& warnings, erofs::Inode& inode) {
  for (auto& [name, value] : entry.xattrs) {
    if (!erofs::has_xattr_form(name)) {
      warnings.add(entry.name, "xattr " + quoted(name) + " dropped: EROFS can't hold its namespace");
      continue;
    }
    if (name.size() > kMaxXattrName || value.size() > erofs::kMaxXattrValue) {
      return refused({}, "xattr " + quoted(name) + " has a name of " + std::to_string(name.size()) +
                             " and a value of " + std::to_string(value.size()) + " bytes; at most " +
                             std::to_string(kMaxXattrName) + " and " + std::to_string(erofs::kMaxXattrValue) +
                             " fit");
    }
    tree.make_xattrs(inode).insert_or_assign(name, std::move(value));
  }
  return ok();
}

Status take_target(const tar::Entry& entry, erofs::Tree& tree, erofs::Inode& inode) {
  if (entry.target.empty()) return refused({}, "a symbolic link without a target");
  if (entry.target.size() > kMaxPath) {
    return refused({}, "a symbolic link with a target of " + std::to_string(entry.target.size()) +
                           " bytes; at most 4095 fit");
  }
  if (entry.target.find('\0') != std::string::npos)
    return refused({}, "a symbolic link with a NUL in its target");
  tree.set_target(inode, entry.target);
  return ok();
}

void take_data(const tar::Entry& entry, erofs::Tree& tree, erofs::Inode& inode) {
  std::vector<erofs::Extent> extents;
  extents.reserve(entry.data.size());
  for (const tar::DataRange& range : entry.data) {
    extents.push_back({range.file_offset, range.source_offset, range.length});
  }
  inode.size = entry.size;
  tree.set_data(inode, std::move(extents));
}

Status take_device(const tar::Entry& entry, erofs::Tree& tree, erofs::Inode& inode) {
  if (entry.device_major > erofs::kMaxDeviceMajor || entry.device_minor > erofs::kMaxDeviceMinor) {
    return refused({}, "device " + std::to_string(entry.device_major) + ":" +
                           std::to_string(entry.device_minor) + "; at most " +
                           std::to_string(erofs::kMaxDeviceMajor) + ":" +
                           std::to_string(erofs::kMaxDeviceMinor) + " fits");
  }
  tree.set_device(inode, {entry.device_major, entry.device_minor});
  return ok();
}

}  // namespace

Result<erofs::Inode> make_inode(tar::Entry& entry, erofs::Tree& tree, Warnings& warnings) {
  erofs::Inode inode;
  inode.mode = type_bits(entry.type);
  TRY(apply_metadata(entry, tree, warnings, inode));
  switch (entry.type) {
    case tar::EntryType::kFile: take_data(entry, tree, inode); break;
    case tar::EntryType::kSymlink: TRY(take_target(entry, tree, inode)); break;
    case tar::EntryType::kCharDevice:
    case tar::EntryType::kBlockDevice: TRY(take_device(entry, tree, inode)); break;
    case tar::EntryType::kDirectory:
    case tar::EntryType::kFifo:
    case tar::EntryType::kHardLink: break;
  }
  return inode;
}

Status apply_metadata(tar::Entry& entry, erofs::Tree& tree, Warnings& warnings, erofs::Inode& inode) {
  inode.mode = static_cast<uint16_t>((inode.mode & S_IFMT) | permissions_on(inode, entry));
  inode.uid = entry.uid;
  inode.gid = entry.gid;
  inode.mtime = entry.mtime;
  inode.mtime_nsec = entry.mtime_nsec;
  return take_xattrs(entry, tree, warnings, inode);
}

bool metadata_differs(const tar::Entry& entry, const erofs::Inode& inode) {
  return (inode.mode & ~S_IFMT) != permissions_on(inode, entry) || inode.uid != entry.uid ||
         inode.gid != entry.gid || inode.mtime != entry.mtime || inode.mtime_nsec != entry.mtime_nsec;
}

}  // namespace seekable::layer
