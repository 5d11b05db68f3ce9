#include "binding/fuse_server.h"

#include <string>
#include <utility>
#include <vector>

#include "binding/convert.h"

namespace seekable::binding {

namespace {

const char* kind_name(fuse::Event::Kind kind) {
  switch (kind) {
    case fuse::Event::Kind::kRead: return "read";
    case fuse::Event::Kind::kMissing: return "missing";
    case fuse::Event::Kind::kInitialised: return "initialised";
    case fuse::Event::Kind::kEnded: break;
  }
  return "ended";
}

void tell(Napi::Env env, Napi::Function on_event, void*, fuse::Event* event) {
  const std::unique_ptr<fuse::Event> owned(event);
  if (env == nullptr) return;  // the environment is going
  auto told = Napi::Object::New(env);
  told.Set("kind", kind_name(owned->kind));
  told.Set("node", static_cast<double>(owned->node));
  told.Set("first", static_cast<double>(owned->first));
  told.Set("last", static_cast<double>(owned->last));
  told.Set("resends", owned->resends);
  on_event.Call({told});
}

using Events = Napi::TypedThreadSafeFunction<void, fuse::Event, tell>;

uint64_t whole(const Napi::Value& value) {
  return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

}  // namespace

// Outlives neither the environment nor the handle: whichever goes first ends the threads, and with them the
// last use of `events`.
struct FuseServerHandle::State {
  Events events;
  std::unique_ptr<fuse::Server> server;

  void close() {
    if (!server) return;
    server.reset();
    events.Release();
  }
};

Napi::Function FuseServerHandle::define(Napi::Env env) {
  return DefineClass(
      env, "FuseServer",
      {InstanceMethod("start", &FuseServerHandle::start), InstanceMethod("stop", &FuseServerHandle::stop),
       InstanceMethod("add", &FuseServerHandle::add), InstanceMethod("remove", &FuseServerHandle::remove),
       InstanceMethod("addFolder", &FuseServerHandle::add_folder),
       InstanceMethod("link", &FuseServerHandle::link), InstanceMethod("unlink", &FuseServerHandle::unlink),
       InstanceMethod("stored", &FuseServerHandle::stored),
       InstanceMethod("delivered", &FuseServerHandle::delivered),
       InstanceMethod("failed", &FuseServerHandle::failed),
       InstanceMethod("counts", &FuseServerHandle::counts),
       InstanceMethod("takeReads", &FuseServerHandle::take_reads)});
}

FuseServerHandle::FuseServerHandle(const Napi::CallbackInfo& info)
    : ObjectWrap(info), state_(std::make_shared<State>()) {
  const auto options = info[0].As<Napi::Object>();
  const int descriptor = static_cast<int>(number_of(options, "fd"));
  const auto threads = static_cast<unsigned>(number_of(options, "threads"));
  File device = value_or_throw(info.Env(), File::duplicate(descriptor, "/dev/fuse"));
  state_->events = Events::New(info.Env(), info[1].As<Napi::Function>(), "fuse", 0, 1);
  const auto on_event = [events = state_->events](const fuse::Event& event) {
    auto* told = new fuse::Event(event);
    if (events.NonBlockingCall(told) != napi_ok) delete told;
  };
  state_->server = std::make_unique<fuse::Server>(
      fuse::Server::Options{.device = std::move(device), .threads = threads, .on_event = on_event});
  // Runs before the function's own hook, which was registered earlier.
  info.Env().AddCleanupHook(
      [](std::shared_ptr<State>* state) {
        (*state)->close();
        delete state;
      },
      new std::shared_ptr<State>(state_));
}

FuseServerHandle::~FuseServerHandle() { state_->close(); }

Napi::Value FuseServerHandle::start(const Napi::CallbackInfo& info) {
  value_or_throw(info.Env(), state_->server->start(info[0].As<Napi::Boolean>()));
  return info.Env().Undefined();
}

Napi::Value FuseServerHandle::stop(const Napi::CallbackInfo& info) {
  state_->close();
  return info.Env().Undefined();
}

Napi::Value FuseServerHandle::add(const Napi::CallbackInfo& info) {
  const auto options = info[0].As<Napi::Object>();
  const uint64_t node = number_of(options, "node");
  const int descriptor = static_cast<int>(number_of(options, "fd"));
  std::string name = string_of(options, "name");
  std::vector<uint64_t> starts = numbers(options.Get("starts"));
  const std::vector<uint8_t> present = copy(options.Get("present"));
  const bool keeps_log = options.Get("keepsLog").ToBoolean();
  File data = value_or_throw(info.Env(), File::duplicate(descriptor, name));
  auto file = value_or_throw(info.Env(), fuse::LayerFile::create({.node = node,
                                                                  .name = std::move(name),
                                                                  .data = std::move(data),
                                                                  .starts = std::move(starts),
                                                                  .present = present,
                                                                  .keeps_log = keeps_log}));
  const uint64_t folder = options.Has("folder") ? number_of(options, "folder") : fuse::kRootNode;
  if (state_->server) value_or_throw(info.Env(), state_->server->add(std::move(file), folder));
  return info.Env().Undefined();
}

Napi::Value FuseServerHandle::add_folder(const Napi::CallbackInfo& info) {
  const std::string name = info[1].As<Napi::String>();
  if (state_->server)
    value_or_throw(info.Env(), state_->server->add_folder(whole(info[0]), name, whole(info[2])));
  return info.Env().Undefined();
}

Napi::Value FuseServerHandle::link(const Napi::CallbackInfo& info) {
  const std::string name = info[1].As<Napi::String>();
  if (state_->server) value_or_throw(info.Env(), state_->server->link(whole(info[0]), name, whole(info[2])));
  return info.Env().Undefined();
}

Napi::Value FuseServerHandle::unlink(const Napi::CallbackInfo& info) {
  const std::string name = info[1].As<Napi::String>();
  if (state_->server) state_->server->unlink(whole(info[0]), name);
  return info.Env().Undefined();
}

Napi::Value FuseServerHandle::remove(const Napi::CallbackInfo& info) {
  if (state_->server) state_->server->remove(whole(info[0]));
  return info.Env().Undefined();
}

Napi::Value FuseServerHandle::stored(const Napi::CallbackInfo& info) {
  if (state_->server) state_->server->stored(whole(info[0]), whole(info[1]));
  return info.Env().Undefined();
}

Napi::Value FuseServerHandle::delivered(const Napi::CallbackInfo& info) {
  const uint64_t node = whole(info[0]);
  const uint64_t chunk = whole(info[1]);
  if (state_->server) state_->server->delivered(node, chunk, view(info[2]));
  return info.Env().Undefined();
}

Napi::Value FuseServerHandle::failed(const Napi::CallbackInfo& info) {
  const int error = info[2].As<Napi::Number>().Int32Value();
  if (state_->server) state_->server->failed(whole(info[0]), whole(info[1]), -error);
  return info.Env().Undefined();
}

// Of one file; null when there is none.
Napi::Value FuseServerHandle::counts(const Napi::CallbackInfo& info) {
  const auto file = state_->server ? state_->server->find(whole(info[0])) : nullptr;
  if (!file) return info.Env().Null();
  auto counts = Napi::Object::New(info.Env());
  counts.Set("reads", static_cast<double>(file->reads));
  counts.Set("bytesRead", static_cast<double>(file->bytes_read));
  counts.Set("hits", static_cast<double>(file->hits));
  counts.Set("bytesHit", static_cast<double>(file->bytes_hit));
  counts.Set("waiting", static_cast<double>(file->waiting));
  counts.Set("opened", static_cast<double>(file->opened));
  return counts;
}

// Offset, length and milliseconds in turn; empty for a file that keeps no log.
Napi::Value FuseServerHandle::take_reads(const Napi::CallbackInfo& info) {
  const auto file = state_->server ? state_->server->find(whole(info[0])) : nullptr;
  const std::vector<fuse::FirstRead> reads =
      file && file->log() != nullptr ? file->log()->take() : std::vector<fuse::FirstRead>{};
  auto numbers = Napi::Float64Array::New(info.Env(), reads.size() * 3);
  for (size_t i = 0; i < reads.size(); ++i) {
    numbers[3 * i] = static_cast<double>(reads[i].offset);
    numbers[3 * i + 1] = static_cast<double>(reads[i].length);
    numbers[3 * i + 2] = reads[i].milliseconds;
  }
  return numbers;
}

}  // namespace seekable::binding
