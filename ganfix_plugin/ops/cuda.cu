// A pass on a GPU: a thread per neuron, over some of the rows. Needs nothing of PyTorch.
#include "pass.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>

namespace ganfix {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kRows = 8;  // per block, unless there are too many

template <class T>
__global__ void run(const Pass pass) {
  const int64_t size = pass.size, i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const bool inside = i < size, counted = inside && (!pass.scores || pass.low_rate[i]);
  const int64_t unit = pass.channels_last ? i % pass.units : i / pass.pixels;
  const int64_t pixel = pass.channels_last ? i / pass.units : i % pass.pixels;
  int32_t count = 0;
  for (int64_t row = blockIdx.y; row < pass.rows; row += gridDim.y) {
    const T x = inside ? static_cast<const T*>(pass.x)[row * size + i] : T(0.0f);
    const bool active = counted && float(x) > 0.0f;
    if (pass.counts) count += active;
    if (pass.scores) {  // the same for the whole block, as the barrier in here demands
      const int low = __syncthreads_count(active);
      if (threadIdx.x == 0 && low) atomicAdd(pass.scores + row, low);
    }
    if (pass.y && inside) {
      const T keep = static_cast<const T*>(pass.keep)[row * pass.pixels + pixel];
      const bool faded = pass.faded[row * pass.units + unit];
      static_cast<T*>(pass.y)[row * size + i] = faded ? T(float(x) * float(keep)) : x;
    }
  }
  if (count) atomicAdd(pass.counts + i, count);
}

}  // namespace

const char* run_on_cuda(const Pass& pass, void* stream) {
  const int64_t across = (pass.size + kThreads - 1) / kThreads, down = (pass.rows + kRows - 1) / kRows;
  const dim3 grid(unsigned(across), unsigned(std::min<int64_t>(down, 65535)));
  const auto on = static_cast<cudaStream_t>(stream);
  switch (pass.kind) {
    case Kind::float32: run<float><<<grid, kThreads, 0, on>>>(pass); break;
    case Kind::float16: run<__half><<<grid, kThreads, 0, on>>>(pass); break;
    case Kind::bfloat16: run<__nv_bfloat16><<<grid, kThreads, 0, on>>>(pass); break;
  }
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace ganfix
