// The ops as PyTorch knows them: tensors in, a `Pass` for the device they are on.
#include "core.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/library.h>

namespace {

using at::Tensor;
using Maybe = std::optional<Tensor>;

ganfix::Kind kind_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat: return ganfix::Kind::float32;
    case at::kHalf: return ganfix::Kind::float16;
    case at::kBFloat16: return ganfix::Kind::bfloat16;
    default: TORCH_CHECK(false, "ganfix: no op for ", x.scalar_type());
  }
}

// A constant of a call, as the kernels read it: dense, in the order that is given.
Tensor constant(
    const Tensor& given, const Tensor& x, at::ScalarType type, at::IntArrayRef shape, at::MemoryFormat order) {
  TORCH_CHECK(given.device() == x.device(), "ganfix: expected everything on ", x.device());
  TORCH_CHECK(given.scalar_type() == type, "ganfix: expected ", type, ", found ", given.scalar_type());
  TORCH_CHECK(given.sizes() == shape, "ganfix: expected ", shape, ", found ", given.sizes());
  return given.dim() == 3 && order == at::MemoryFormat::ChannelsLast
      ? given.unsqueeze(0).contiguous(order)
      : given.contiguous();
}

void run(
    const Tensor& x, const Tensor* y, const Maybe& cap, const Maybe& factor, const Maybe& faded,
    const Maybe& keep, const Maybe& counts, const Maybe& low_rate, const Maybe& scores,
    at::MemoryFormat order) {
  const int64_t rows = x.size(0), units = x.size(1), height = x.size(2), width = x.size(3);
  const at::ScalarType type = x.scalar_type();
  const auto plain = at::MemoryFormat::Contiguous;
  ganfix::Pass pass{};
  pass.x = x.const_data_ptr();
  pass.y = y ? y->data_ptr() : nullptr;
  pass.rows = rows;
  pass.units = units;
  pass.pixels = height * width;
  pass.channels_last = order == at::MemoryFormat::ChannelsLast;
  std::vector<Tensor> kept;  // until the kernel was started
  const auto pointer = [&](const Maybe& given, at::ScalarType of, at::IntArrayRef shape, at::MemoryFormat as) {
    kept.push_back(constant(*given, x, of, shape, as));
    return kept.back().const_data_ptr();
  };
  if (cap) pass.cap = pointer(cap, type, {units, height, width}, order);
  if (factor) {
    pass.factor_by_row = factor->dim() == 2;
    pass.factor = pass.factor_by_row ? pointer(factor, type, {rows, units}, plain)
                                     : pointer(factor, type, {units}, plain);
  }
  if (keep) {
    TORCH_CHECK(faded, "ganfix: keep without faded");
    pass.keep = pointer(keep, type, {rows, height, width}, plain);
    pass.faded = static_cast<const bool*>(pointer(faded, at::kBool, {rows, units}, plain));
  }
  Tensor counted;
  if (counts) {
    counted = constant(*counts, x, at::kInt, {units, height, width}, order);
    pass.counts = counted.data_ptr<int32_t>();
  }
  if (scores) {
    TORCH_CHECK(low_rate, "ganfix: scores without low_rate");
    TORCH_CHECK(scores->is_contiguous(), "ganfix: scores must be contiguous");
    (void)constant(*scores, x, at::kInt, {rows}, plain);
    pass.low_rate = static_cast<const bool*>(pointer(low_rate, at::kBool, {units, height, width}, order));
    pass.scores = scores->data_ptr<int32_t>();
  }
  if (x.is_cpu()) {
    ganfix::run_on_cpu(pass, kind_of(x));
  } else {
#ifdef GANFIX_CUDA
    const c10::DeviceGuard guard(x.device());
    const c10::impl::VirtualGuardImpl device(x.device().type());
    const char* error = ganfix::run_on_cuda(pass, kind_of(x), device.getStream(x.device()).native_handle());
    TORCH_CHECK(!error, "ganfix: ", error);
#else
    TORCH_CHECK(false, "ganfix: built without CUDA");
#endif
  }
  // In another order than the feature map's, the counts were grown in a copy.
  if (counts && counted.const_data_ptr() != counts->const_data_ptr()) counts->copy_(counted.view(counts->sizes()));
}

// x in an order that the kernels know, and that order.
std::pair<Tensor, at::MemoryFormat> dense(const Tensor& x) {
  TORCH_CHECK(x.dim() == 4, "ganfix: expected a feature map [N, C, H, W], found ", x.sizes());
  const bool last = !x.is_contiguous() && x.is_contiguous(at::MemoryFormat::ChannelsLast);
  const auto order = last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return {x.contiguous(order), order};
}

Tensor correct_and_count(
    const Tensor& x, const Maybe& cap, const Maybe& factor, const Maybe& faded, const Maybe& keep,
    const Maybe& counts, const Maybe& low_rate, const Maybe& scores) {
  TORCH_CHECK(int(bool(cap)) + int(bool(factor)) + int(bool(keep)) == 1, "ganfix: expected exactly one edit");
  const auto [given, order] = dense(x);
  const Tensor y = at::empty_like(given);
  run(given, &y, cap, factor, faded, keep, counts, low_rate, scores, order);
  // As PyTorch's own elementwise ops lay out their results.
  return given.is_same(x) ? y : at::empty_like(x).copy_(y);
}

Tensor correct(
    const Tensor& x, const Maybe& cap, const Maybe& factor, const Maybe& faded, const Maybe& keep) {
  return correct_and_count(x, cap, factor, faded, keep, {}, {}, {});
}

void count_(const Tensor& x, const Maybe& counts, const Maybe& low_rate, const Maybe& scores) {
  const auto [given, order] = dense(x);
  run(given, nullptr, {}, {}, {}, {}, counts, low_rate, scores, order);
}

void implement(torch::Library& library) {
  library.impl("correct", &correct);
  library.impl("count_", &count_);
  library.impl("correct_and_count", &correct_and_count);
}

}  // namespace

// What they do is said in reference.py, which has functions of the same names and arguments.
TORCH_LIBRARY(ganfix, library) {
  library.def(
      "correct(Tensor x, Tensor? cap=None, Tensor? factor=None, Tensor? faded=None, Tensor? keep=None) -> Tensor");
  library.def(
      "count_(Tensor x, Tensor(a!)? counts=None, Tensor? low_rate=None, Tensor(b!)? scores=None) -> ()");
  library.def(
      "correct_and_count(Tensor x, Tensor? cap=None, Tensor? factor=None, Tensor? faded=None, Tensor? keep=None, "
      "Tensor(a!)? counts=None, Tensor? low_rate=None, Tensor(b!)? scores=None) -> Tensor");
}

TORCH_LIBRARY_IMPL(ganfix, CPU, library) { implement(library); }

#ifdef GANFIX_CUDA
TORCH_LIBRARY_IMPL(ganfix, CUDA, library) { implement(library); }
#endif
