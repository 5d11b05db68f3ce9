// Builds tars in memory, odd and broken ones too.
#pragma once

#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace seekable::test {

// One header block and the data behind it. `edit` may change the block before its checksum is made,
// `after_sum` even after that.
struct Member {
  std::string name;
  char typeflag = '0';
  std::string data = {};
  std::string target = {};
  long long mode = 0644;
  long long uid = 0;
  long long gid = 0;
  long long mtime = 1'700'000'000;
  std::function<void(std::string& block)> edit = {};
  std::function<void(std::string& block)> after_sum = {};
};

using PaxRecords = std::vector<std::pair<std::string, std::string>>;

class TarBuilder {
 public:
  TarBuilder& add(const Member& member) {
    std::string block(512, '\0');
    put(block, 0, member.name.substr(0, 100));
    octal(block, 100, 8, member.mode);
    octal(block, 108, 8, member.uid);
    octal(block, 116, 8, member.gid);
    octal(block, 124, 12, static_cast<long long>(member.data.size()));
    octal(block, 136, 12, member.mtime);
    block[156] = member.typeflag;
    put(block, 157, member.target.substr(0, 100));
    put(block, 257,
        std::string("ustar\0"
                    "00",
                    8));
    if (member.edit) member.edit(block);
    put_checksum(block);
    if (member.after_sum) member.after_sum(block);
    bytes_ += block + member.data + std::string((512 - member.data.size() % 512) % 512, '\0');
    return *this;
  }

  TarBuilder& file(std::string name, std::string data) {
    return add({.name = std::move(name), .data = std::move(data)});
  }
  TarBuilder& directory(std::string name) {
    return add({.name = std::move(name), .typeflag = '5', .mode = 0755});
  }
  TarBuilder& symlink(std::string name, std::string target) {
    return add({.name = std::move(name), .typeflag = '2', .target = std::move(target), .mode = 0777});
  }
  TarBuilder& hard_link(std::string name, std::string target) {
    return add({.name = std::move(name), .typeflag = '1', .target = std::move(target)});
  }
  TarBuilder& device(std::string name, char typeflag, int major, int minor) {
    return add({.name = std::move(name), .typeflag = typeflag, .edit = [=](std::string& block) {
                  octal(block, 329, 8, major);
                  octal(block, 337, 8, minor);
                }});
  }

  // An extended header for the next member (or a global one, with typeflag 'g').
  TarBuilder& pax(const PaxRecords& records, char typeflag = 'x') {
    std::string text;
    for (const auto& [key, value] : records) text += pax_record(key, value);
    return pax_text(text, typeflag);
  }
  TarBuilder& pax_text(std::string text, char typeflag = 'x') {
    return add({.name = "PaxHeaders/x", .typeflag = typeflag, .data = std::move(text)});
  }
  TarBuilder& gnu_long_name(const std::string& name) {
    return add({.name = "././@LongLink", .typeflag = 'L', .data = name + '\0', .edit = gnu_magic});
  }
  TarBuilder& gnu_long_target(const std::string& target) {
    return add({.name = "././@LongLink", .typeflag = 'K', .data = target + '\0', .edit = gnu_magic});
  }

  TarBuilder& raw(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }
  // The two zero blocks.
  TarBuilder& end() { return raw(std::string(1024, '\0')); }

  const std::string& bytes() const { return bytes_; }

  static std::string pax_record(const std::string& key, const std::string& value) {
    const size_t body = key.size() + value.size() + 3;  // the space, '=' and newline
    size_t length = body + 1;
    while (length != body + std::to_string(length).size()) ++length;
    return std::to_string(length) + " " + key + "=" + value + "\n";
  }
  static void put(std::string& block, size_t offset, const std::string& bytes) {
    block.replace(offset, bytes.size(), bytes);
  }
  // Zero-padded and NUL-terminated, as most tools write it.
  static void octal(std::string& block, size_t offset, size_t width, long long value) {
    char text[32];
    std::snprintf(text, sizeof text, "%0*llo", static_cast<int>(width - 1), value);
    put(block, offset, std::string(text).substr(0, width - 1) + '\0');
  }
  static void gnu_magic(std::string& block) { put(block, 257, std::string("ustar  \0", 8)); }
  static void no_magic(std::string& block) { put(block, 257, std::string(8, '\0')); }

 private:
  static void put_checksum(std::string& block) {
    put(block, 148, std::string(8, ' '));
    unsigned sum = 0;
    for (const char character : block) sum += static_cast<unsigned char>(character);
    octal(block, 148, 7, sum);
  }

  std::string bytes_;
};

}  // namespace seekable::test
