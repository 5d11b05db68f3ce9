// verityTree.
#include "binding/tree.h"

#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/job.h"
#include "binding/source.h"

namespace seekable::binding {

Napi::Value tree_to_js(Napi::Env env, verity::Tree tree) {
  auto result = Napi::Object::New(env);
  result.Set("root", to_js(env, tree.root()));
  result.Set("dataBlocks", static_cast<double>(tree.data_blocks()));
  result.Set("tree", SourceHandle::wrap(env, std::make_shared<verity::Tree>(std::move(tree))));
  return result;
}

Napi::Value verity_tree(const Napi::CallbackInfo& info) {
  const auto options = info[2].As<Napi::Object>();
  return run_async<verity::Tree>(
      info.Env(), JobHandle::of(info[3]),
      [source = SourceHandle::of(info[0]), parameters = verity_parameters(info[1].As<Napi::Object>()),
       threads = static_cast<unsigned>(number_of(options, "threads")),
       directory = string_of(options, "tmpDir")](Job& job) {
        return verity::build(parameters, *source, threads, directory, job);
      },
      [](Napi::Env env, verity::Tree& tree) { return tree_to_js(env, std::move(tree)); });
}

}  // namespace seekable::binding
