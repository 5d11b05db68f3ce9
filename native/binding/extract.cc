// TreeWriter: what an extraction makes.
#include "binding/convert.h"
#include "binding/job.h"
#include "binding/tree_parcel.h"
#include "binding/tree_writer.h"

namespace seekable::binding {

namespace {

using sys::TreeNotice;
using Notices = std::vector<TreeNotice>;

// Names are bytes in no encoding: JavaScript has them as strings of one character a byte.
Napi::Value to_js_bytes(Napi::Env env, const std::string& bytes) {
  napi_value value = nullptr;
  napi_create_string_latin1(env, bytes.data(), bytes.size(), &value);
  return {env, value};
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

using Work = std::function<Status(const std::vector<sys::TreeEntry>& entries, Job& job, Notices& notices)>;

// Of (parcel, job).
Napi::Value run(const Napi::CallbackInfo& info, Work work) {
  return run_async<Notices>(
      info.Env(), JobHandle::of(info[1]),
      [parcel = TreeParcel(info[0].As<Napi::Object>()), work = std::move(work)](Job& job) -> Result<Notices> {
        Notices notices;
        TRY(work(TRY(parcel.entries()), job, notices));
        return notices;
      },
      [](Napi::Env env, Notices& notices) { return notices_to_js(env, notices); });
}

}  // namespace

Napi::Function TreeWriterHandle::define(Napi::Env env) {
  return DefineClass(env, "TreeWriter",
                     {InstanceMethod("write", &TreeWriterHandle::write),
                      InstanceMethod("finishFolders", &TreeWriterHandle::finish_folders),
                      InstanceMethod("abandon", &TreeWriterHandle::abandon),
                      InstanceMethod("removeMade", &TreeWriterHandle::remove_made),
                      InstanceMethod("removeAll", &TreeWriterHandle::remove_all)});
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
  return run(info, [writer = writer_](const std::vector<sys::TreeEntry>& entries, Job& job,
                                      Notices& notices) { return writer->write(entries, job, notices); });
}

Napi::Value TreeWriterHandle::finish_folders(const Napi::CallbackInfo& info) {
  return run(info,
             [writer = writer_](const std::vector<sys::TreeEntry>& folders, Job& job, Notices& notices) {
               return writer->finish_folders(folders, job, notices);
             });
}

Napi::Value TreeWriterHandle::abandon(const Napi::CallbackInfo& info) {
  writer_->abandon();
  return info.Env().Undefined();
}

Napi::Value TreeWriterHandle::remove_made(const Napi::CallbackInfo& info) {
  return run_async<Unit>(
      info.Env(), JobHandle::of(info[0]), [writer = writer_](Job&) { return writer->remove_made(); },
      [](Napi::Env env, Unit&) { return env.Undefined(); });
}

Napi::Value TreeWriterHandle::remove_all(const Napi::CallbackInfo& info) {
  return run_async<Unit>(
      info.Env(), JobHandle::of(info[0]), [writer = writer_](Job&) { return writer->remove_all(); },
      [](Napi::Env env, Unit&) { return env.Undefined(); });
}

}  // namespace seekable::binding
