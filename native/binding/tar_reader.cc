#include "binding/tar_reader.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "binding/convert.h"
#include "binding/environment.h"
#include "binding/job.h"
#include "binding/source.h"
#include "tar/reader.h"

namespace seekable::binding {

namespace {

// What bounds a batch: its entries, and what varies in them (names, xattrs, sparse maps).
constexpr size_t kMaxEntries = 2048;
constexpr size_t kMaxBytes = size_t{4} << 20;

using Batch = std::vector<tar::Entry>;

size_t variable_size(const tar::Entry& entry) {
  size_t size = entry.name.size() + entry.target.size() + entry.data.size() * sizeof(tar::DataRange);
  for (const auto& [name, value] : entry.xattrs) size += name.size() + value.size();
  return size;
}

// One character a byte, so that nothing is lost of names that are no UTF-8.
Napi::Value byte_string(Napi::Env env, const std::string& bytes) {
  napi_value value = nullptr;
  if (napi_create_string_latin1(env, bytes.data(), bytes.size(), &value) != napi_ok)
    throw Napi::Error::New(env);
  return {env, value};
}

template <typename Field>
Napi::Value column(Napi::Env env, const Batch& batch, Field field) {
  auto values = Napi::Float64Array::New(env, batch.size());
  for (size_t i = 0; i < batch.size(); ++i) values[i] = static_cast<double>(field(batch[i]));
  return values;
}

template <typename Field>
Napi::Value strings(Napi::Env env, const Batch& batch, Field field) {
  auto values = Napi::Array::New(env, batch.size());
  for (uint32_t i = 0; i < batch.size(); ++i) values[i] = byte_string(env, field(batch[i]));
  return values;
}

Napi::Value seconds(Napi::Env env, const Batch& batch) {
  auto values = Napi::BigInt64Array::New(env, batch.size());
  for (size_t i = 0; i < batch.size(); ++i) values[i] = batch[i].mtime;
  return values;
}

// Three numbers a range, of all entries in turn.
Napi::Value ranges(Napi::Env env, const Batch& batch) {
  std::vector<uint64_t> flat;
  for (const tar::Entry& entry : batch) {
    for (const tar::DataRange& range : entry.data) {
      flat.insert(flat.end(), {range.file_offset, range.source_offset, range.length});
    }
  }
  return to_js(env, flat);
}

// Name, value, name, value … of all entries in turn.
Napi::Value xattrs(Napi::Env env, const Batch& batch) {
  auto values = Napi::Array::New(env);
  uint32_t next = 0;
  for (const tar::Entry& entry : batch) {
    for (const auto& [name, value] : entry.xattrs) {
      values[next++] = byte_string(env, name);
      values[next++] = byte_string(env, value);
    }
  }
  return values;
}

Napi::Value to_columns(Napi::Env env, const Batch& batch) {
  auto columns = Napi::Object::New(env);
  const auto add = [&](const char* name, auto field) { columns.Set(name, column(env, batch, field)); };
  columns.Set("names", strings(
                           env, batch, [](const tar::Entry& entry) -> auto& { return entry.name; }));
  columns.Set("targets", strings(
                             env, batch, [](const tar::Entry& entry) -> auto& { return entry.target; }));
  add("types", [](const tar::Entry& entry) { return static_cast<int>(entry.type); });
  add("modes", [](const tar::Entry& entry) { return entry.permissions; });
  add("uids", [](const tar::Entry& entry) { return entry.uid; });
  add("gids", [](const tar::Entry& entry) { return entry.gid; });
  columns.Set("seconds", seconds(env, batch));
  add("nanoseconds", [](const tar::Entry& entry) { return entry.mtime_nsec; });
  add("majors", [](const tar::Entry& entry) { return entry.device_major; });
  add("minors", [](const tar::Entry& entry) { return entry.device_minor; });
  add("sizes", [](const tar::Entry& entry) { return entry.size; });
  add("rangeCounts", [](const tar::Entry& entry) { return entry.data.size(); });
  columns.Set("ranges", ranges(env, batch));
  add("xattrCounts", [](const tar::Entry& entry) { return entry.xattrs.size(); });
  columns.Set("xattrs", xattrs(env, batch));
  return columns;
}

}  // namespace

struct TarReaderHandle::State {
  explicit State(std::shared_ptr<const ByteSource> from) : source(std::move(from)) {
    reader.emplace(*source);
  }

  // Empty at the end, where the tar is let go of: JavaScript may keep its handle until it collects garbage.
  Result<Batch> next(Job& job) {
    Result<Batch> batch = reader ? read(job) : Batch();
    if (batch.ok() && batch.value().empty()) {
      reader.reset();
      source.reset();
    }
    return batch;
  }

  Result<Batch> read(Job& job) {
    Batch batch;
    for (size_t bytes = 0; batch.size() < kMaxEntries && bytes < kMaxBytes;) {
      TRY(job.check());
      std::optional<tar::Entry> entry = TRY(reader->next());
      if (!entry) break;
      bytes += variable_size(*entry);
      batch.push_back(std::move(*entry));
    }
    return batch;
  }

  std::shared_ptr<const ByteSource> source;
  std::optional<tar::Reader> reader;
  std::atomic<bool> busy = false;
};

Napi::Function TarReaderHandle::define(Napi::Env env) {
  return DefineClass(env, "TarReader", {InstanceMethod("next", &TarReaderHandle::next)});
}

TarReaderHandle::TarReaderHandle(const Napi::CallbackInfo& info)
    : ObjectWrap(info), state_(std::make_shared<State>(SourceHandle::of(info[0]))) {}

Napi::Value TarReaderHandle::next(const Napi::CallbackInfo& info) {
  const auto job = JobHandle::of(info[0]);
  if (state_->busy.exchange(true)) throw Napi::TypeError::New(info.Env(), "the TarReader is busy");
  return run_async<Batch>(
      info.Env(), job,
      [state = state_](Job& running) {
        Result<Batch> batch = state->next(running);
        state->busy = false;
        return batch;
      },
      [](Napi::Env env, Batch& batch) { return batch.empty() ? env.Null() : to_columns(env, batch); });
}

}  // namespace seekable::binding
