// listTar.
#include <string>
#include <vector>

#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/job.h"
#include "binding/source.h"
#include "tar/reader.h"

namespace seekable::binding {

namespace {

const char* type_name(tar::EntryType type) {
  switch (type) {
    case tar::EntryType::kFile: return "file";
    case tar::EntryType::kDirectory: return "dir";
    case tar::EntryType::kSymlink: return "symlink";
    case tar::EntryType::kHardLink: return "hardlink";
    default: return "other";
  }
}

Result<std::vector<tar::Entry>> entries_of(const ByteSource& source, Job& job) {
  tar::Reader reader(source);
  std::vector<tar::Entry> entries;
  for (;;) {
    TRY(job.check());
    std::optional<tar::Entry> entry = TRY(reader.next());
    if (!entry) return entries;
    entries.push_back(std::move(*entry));
  }
}

}  // namespace

Napi::Value list_tar(const Napi::CallbackInfo& info) {
  return run_async<std::vector<tar::Entry>>(
      info.Env(), JobHandle::of(info[1]),
      [source = SourceHandle::of(info[0])](Job& job) { return entries_of(*source, job); },
      [](Napi::Env env, std::vector<tar::Entry>& entries) {
        auto list = Napi::Array::New(env, entries.size());
        for (uint32_t i = 0; i < entries.size(); ++i) {
          const tar::Entry& entry = entries[i];
          auto item = Napi::Object::New(env);
          item.Set("name", entry.name);
          item.Set("type", type_name(entry.type));
          item.Set("size", static_cast<double>(entry.size));
          item.Set("offset",
                   entry.data.empty() ? 0.0 : static_cast<double>(entry.data.front().source_offset));
          list[i] = item;
        }
        return list;
      });
}

}  // namespace seekable::binding
