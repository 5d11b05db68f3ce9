// TreeWriter: what an extraction makes.
#include "binding/convert.h"
#include "binding/job.h"
#include "binding/source.h"
#include "binding/tree_writer.h"

namespace seekable::binding {

namespace {

using sys::TreeEntry;
using sys::TreeNotice;
using Entries = std::vector<TreeEntry>;
using Notices = std::vector<TreeNotice>;

// Names are bytes in no encoding: JavaScript has them as strings of one character a byte.
std::string byte_string(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  size_t length = 0;
  if (napi_get_value_string_latin1(object.Env(), value, nullptr, 0, &length) != napi_ok) {
    throw Napi::TypeError::New(object.Env(), std::string(key) + " must be a string");
  }
  std::string bytes(length, '\0');
  napi_get_value_string_latin1(object.Env(), value, bytes.data(), length + 1, &length);
  return bytes;
}

Napi::Value to_js_bytes(Napi::Env env, const std::string& bytes) {
  napi_value value = nullptr;
  napi_create_string_latin1(env, bytes.data(), bytes.size(), &value);
  return {env, value};
}

TreeEntry::Kind kind_of(const Napi::Object& object) {
  using Kind = TreeEntry::Kind;
  const std::string kind = string_of(object, "kind");
  if (kind == "dir") return Kind::kFolder;
  if (kind == "symlink") return Kind::kSymlink;
  if (kind == "hardlink") return Kind::kHardLink;
  if (kind == "char") return Kind::kCharacter;
  if (kind == "block") return Kind::kBlock;
  if (kind == "fifo") return Kind::kFifo;
  if (kind == "socket") return Kind::kSocket;
  return Kind::kFile;
}

uint32_t small_number_of(const Napi::Object& object, const char* key) {
  return static_cast<uint32_t>(number_of(object, key));
}

void read_attributes(const Napi::Object& object, TreeEntry& entry) {
  entry.mode = small_number_of(object, "mode");
  entry.uid = small_number_of(object, "uid");
  entry.gid = small_number_of(object, "gid");
  entry.seconds = object.Get("seconds").As<Napi::Number>().Int64Value();
  entry.nanoseconds = small_number_of(object, "nanoseconds");
  const auto xattrs = object.Get("xattrs").As<Napi::Array>();
  for (uint32_t i = 0; i < xattrs.Length(); ++i) {
    const auto xattr = Napi::Value(xattrs[i]).As<Napi::Object>();
    entry.xattrs.push_back({byte_string(xattr, "name"), std::string(as_text(view(xattr.Get("value"))))});
  }
}

TreeEntry::Piece piece_of(const Napi::Object& object) {
  TreeEntry::Piece piece;
  piece.offset = number_of(object, "offset");
  const Napi::Value source = object.Get("source");
  if (source.IsUndefined()) {
    piece.bytes = view(object.Get("bytes"));
    return piece;
  }
  piece.source = SourceHandle::of(source);
  piece.address = number_of(object, "address");
  piece.length = number_of(object, "length");
  return piece;
}

void read_content(const Napi::Object& object, TreeEntry& entry) {
  entry.size = number_of(object, "size");
  entry.begins = object.Get("begins").ToBoolean();
  entry.ends = object.Get("ends").ToBoolean();
  const auto pieces = object.Get("pieces").As<Napi::Array>();
  for (uint32_t i = 0; i < pieces.Length(); ++i) {
    const auto piece = Napi::Value(pieces[i]).As<Napi::Object>();
    entry.pieces.push_back(piece_of(piece));
  }
}

TreeEntry entry_of(const Napi::Object& object) {
  TreeEntry entry;
  entry.kind = kind_of(object);
  entry.path = byte_string(object, "path");
  if (entry.kind == TreeEntry::Kind::kHardLink) {
    entry.target = byte_string(object, "target");
    return entry;
  }
  read_attributes(object, entry);
  if (entry.kind == TreeEntry::Kind::kSymlink) entry.target = byte_string(object, "target");
  if (entry.kind == TreeEntry::Kind::kFile) read_content(object, entry);
  if (entry.kind == TreeEntry::Kind::kCharacter || entry.kind == TreeEntry::Kind::kBlock) {
    entry.major = small_number_of(object, "major");
    entry.minor = small_number_of(object, "minor");
  }
  return entry;
}

std::shared_ptr<Entries> entries_of(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  auto entries = std::make_shared<Entries>();
  entries->reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());  // thousands of entries, a dozen handles each
    entries->push_back(entry_of(Napi::Value(array[i]).As<Napi::Object>()));
  }
  return entries;
}

Napi::Value notices_to_js(Napi::Env env, const Notices& notices) {
  auto array = Napi::Array::New(env, notices.size());
  for (uint32_t i = 0; i < notices.size(); ++i) {
    auto notice = Napi::Object::New(env);
    notice.Set("path", to_js_bytes(env, notices[i].path));
    notice.Set("subject", to_js_bytes(env, notices[i].subject));
    notice.Set("why", notices[i].why);
    array[i] = notice;
  }
  return array;
}

}  // namespace

Napi::Function TreeWriterHandle::define(Napi::Env env) {
  return DefineClass(env, "TreeWriter",
                     {InstanceMethod("write", &TreeWriterHandle::write),
                      InstanceMethod("finishFolders", &TreeWriterHandle::finish_folders),
                      InstanceMethod("abandon", &TreeWriterHandle::abandon)});
}

TreeWriterHandle::TreeWriterHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const auto root = info[0].As<Napi::Object>();
  const auto options = info[1].As<Napi::Object>();
  File folder = value_or_throw(
      info.Env(), File::duplicate(static_cast<int>(number_of(root, "fd")), string_of(root, "name")));
  writer_ = std::make_shared<sys::TreeWriter>(
      std::move(folder), sys::TreeWriter::Options{.replace = options.Get("replace").ToBoolean(),
                                                  .owners = options.Get("owners").ToBoolean()});
}

Napi::Value TreeWriterHandle::write(const Napi::CallbackInfo& info) {
  // The pieces' bytes stay JavaScript's: they live as long as the array does.
  const auto array = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info[0].As<Napi::Object>()));
  return run_async<Notices>(
      info.Env(), JobHandle::of(info[1]),
      [writer = writer_, entries = entries_of(info[0])](Job& job) -> Result<Notices> {
        Notices notices;
        TRY(writer->write(*entries, job, notices));
        return notices;
      },
      [array](Napi::Env env, Notices& notices) { return notices_to_js(env, notices); });
}

Napi::Value TreeWriterHandle::finish_folders(const Napi::CallbackInfo& info) {
  return run_async<Notices>(
      info.Env(), JobHandle::of(info[1]),
      [writer = writer_, folders = entries_of(info[0])](Job& job) -> Result<Notices> {
        Notices notices;
        TRY(writer->finish_folders(*folders, job, notices));
        return notices;
      },
      notices_to_js);
}

Napi::Value TreeWriterHandle::abandon(const Napi::CallbackInfo& info) {
  writer_->abandon();
  return info.Env().Undefined();
}

}  // namespace seekable::binding
