// The ops as PyTorch knows them: tensors in, a `Pass` for the device they are on.
#include "pass.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/library.h>

namespace {

using at::MemoryFormat;
using at::Tensor;

// A feature map as the kernels read it: dense, and in the order that it has if it is so already.
Tensor dense(const Tensor& x) {
  TORCH_CHECK(x.dim() == 4, "ganfix: expected a feature map [N, C, H, W], found ", x.sizes());
  return x.is_contiguous(MemoryFormat::ChannelsLast) ? x : x.contiguous();
}

// What an op is given beside x: dense, and if it is [C, H, W] by neuron in the order of x.
Tensor dense(const Tensor& tensor, const Tensor& x, at::ScalarType type, at::IntArrayRef shape, bool by_neuron = false) {
  TORCH_CHECK(tensor.device() == x.device(), "ganfix: expected everything on ", x.device());
  TORCH_CHECK(tensor.scalar_type() == type && tensor.sizes() == shape, "ganfix: expected ", type, " ", shape,
              ", found ", tensor.scalar_type(), " ", tensor.sizes());
  if (!by_neuron || x.is_contiguous()) return tensor.contiguous();
  return tensor.unsqueeze(0).contiguous(MemoryFormat::ChannelsLast).squeeze(0);
}

ganfix::Pass pass_over(const Tensor& x) {
  ganfix::Pass pass{};
  pass.x = x.const_data_ptr();
  pass.rows = x.size(0), pass.units = x.size(1), pass.pixels = x.size(2) * x.size(3);
  pass.size = pass.units * pass.pixels;
  pass.channels_last = !x.is_contiguous();
  switch (x.scalar_type()) {
    case at::kFloat: pass.kind = ganfix::Kind::float32; break;
    case at::kHalf: pass.kind = ganfix::Kind::float16; break;
    case at::kBFloat16: pass.kind = ganfix::Kind::bfloat16; break;
    default: TORCH_CHECK(false, "ganfix: no op for ", x.scalar_type());
  }
  return pass;
}

void run(const ganfix::Pass& pass, const Tensor& x) {
  if (!x.numel()) return;
  if (x.is_cpu()) return ganfix::run_on_cpu(pass);
#ifdef GANFIX_CUDA
  const c10::DeviceGuard guard(x.device());
  const c10::impl::VirtualGuardImpl device(x.device().type());
  const char* error = ganfix::run_on_cuda(pass, device.getStream(x.device()).native_handle());
  TORCH_CHECK(!error, "ganfix: ", error);
#else
  TORCH_CHECK(false, "ganfix: built without CUDA");
#endif
}

void count_active_(const Tensor& map, const Tensor& counts) {
  const Tensor x = dense(map), own = dense(counts, x, at::kInt, x.sizes().slice(1), true);
  ganfix::Pass pass = pass_over(x);
  pass.counts = own.data_ptr<int32_t>();
  run(pass, x);
  counts.copy_(own);  // nothing is copied where they are the same
}

void count_low_rate_(const Tensor& map, const Tensor& low_rate, const Tensor& scores) {
  const Tensor x = dense(map), neurons = dense(low_rate, x, at::kBool, x.sizes().slice(1), true);
  const Tensor own = dense(scores, x, at::kInt, {x.size(0)});
  ganfix::Pass pass = pass_over(x);
  pass.low_rate = static_cast<const uint8_t*>(neurons.const_data_ptr());
  pass.scores = own.data_ptr<int32_t>();
  run(pass, x);
  scores.copy_(own);
}

Tensor fade(const Tensor& map, const Tensor& units, const Tensor& keep) {
  const Tensor x = dense(map), y = at::empty_like(x), faded = dense(units, x, at::kBool, x.sizes().slice(0, 2));
  const Tensor factor = dense(keep, x, x.scalar_type(), {x.size(0), x.size(2), x.size(3)});
  ganfix::Pass pass = pass_over(x);
  pass.y = y.data_ptr();
  pass.faded = static_cast<const uint8_t*>(faded.const_data_ptr());
  pass.keep = factor.const_data_ptr();
  run(pass, x);
  return x.is_same(map) ? y : at::empty_like(map).copy_(y);  // laid out as by PyTorch's own ops
}

}  // namespace

TORCH_LIBRARY(ganfix, library) {
  library.def("count_active_(Tensor x, Tensor(a!) counts) -> ()");
  library.def("count_low_rate_(Tensor x, Tensor low_rate, Tensor(a!) scores) -> ()");
  library.def("fade(Tensor x, Tensor units, Tensor keep) -> Tensor");
  for (const auto device : {c10::kCPU, c10::kCUDA}) {
    library.impl("count_active_", torch::dispatch(device, &count_active_));
    library.impl("count_low_rate_", torch::dispatch(device, &count_low_rate_));
    library.impl("fade", torch::dispatch(device, &fade));
  }
}
