// Where bytes come from and go to.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace seekable {

// Random access to bytes of a fixed length. Every method may be called from several threads at once.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual uint64_t size() const = 0;
  // Fills `out` from `offset`, or fails: a source that is shorter than it promised is kCorrupt.
  virtual Status read_at(uint64_t offset, MutableBytes out) const = 0;
  // Fills `out` if that needs no waiting for a disk; if not, or if it fails, false: read_at() will do, or
  // tell.
  virtual bool read_cached(uint64_t offset, MutableBytes out) const { return read_at(offset, out).ok(); }
  // For sources that have their bytes in memory: gives `take` those from `offset` where they are, in order,
  // in pieces that last as long as the call. False from all others, which are to be read.
  virtual Result<bool> lend(uint64_t offset, uint64_t length, const std::function<Status(Bytes)>& take) const;
};

// Bytes in order, from one thread.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Status write(Bytes bytes) = 0;
};

// An owned file descriptor. `name` is what errors call it.
class File {
 public:
  File() = default;
  File(int descriptor, std::string name) : descriptor_(descriptor), name_(std::move(name)) {}
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  // A read-write file in `directory` that has no name, so that no crash can leave it behind.
  static Result<File> temporary(const std::string& directory);
  // A second descriptor of an open file, owned here; the original stays its owner's.
  static Result<File> duplicate(int descriptor, std::string name);

  int descriptor() const { return descriptor_; }
  const std::string& name() const { return name_; }
  Result<uint64_t> size() const;
  // Reads exactly out.size() bytes; a file that ends before is kCorrupt.
  Status read_at(uint64_t offset, MutableBytes out) const;
  // As ByteSource::read_cached(): only what the page cache has, where the file system can tell.
  bool read_cached(uint64_t offset, MutableBytes out) const;
  // Writes all bytes.
  Status write_at(uint64_t offset, Bytes bytes) const;
  // Lets the disk begin with what was written there, so that a later fsync() has little left to wait for.
  void begin_writeback(uint64_t offset, uint64_t length) const;

 private:
  int descriptor_ = -1;
  std::string name_;
};

// The bytes [offset, offset + size) of a file.
class FileSource final : public ByteSource {
 public:
  FileSource(File file, uint64_t offset, uint64_t size)
      : file_(std::move(file)), offset_(offset), size_(size) {}
  uint64_t size() const override { return size_; }
  Status read_at(uint64_t offset, MutableBytes out) const override;
  bool read_cached(uint64_t offset, MutableBytes out) const override;
  // Where byte `offset` of the source lies in the file: for callers that move bytes without copying them.
  const File& file() const { return file_; }
  uint64_t file_offset() const { return offset_; }

 private:
  File file_;
  uint64_t offset_;
  uint64_t size_;
};

// Bytes in memory that outlive the source.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(Bytes bytes) : bytes_(bytes) {}
  uint64_t size() const override { return bytes_.size(); }
  Status read_at(uint64_t offset, MutableBytes out) const override;

 private:
  Bytes bytes_;
};

}  // namespace seekable
