// A pass on a GPU: a thread per neuron, over a few rows. Needs nothing of PyTorch.
#include "core.h"

#include <cuda_runtime.h>

namespace ganfix {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 8;  // per block

template <class Format, Edit edit>
__global__ void run(const Pass pass) {
  using Bits = typename Format::Bits;
  const int64_t size = pass.size(), i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const bool inside = i < size;
  const int64_t at = inside ? i : 0;
  const int64_t unit = pass.channels_last ? at % pass.units : at / pass.pixels;
  const int64_t pixel = pass.channels_last ? at / pass.units : at % pass.pixels;
  const bool low_rate = inside && pass.scores && pass.low_rate[at];
  // Blocks lie along y no more than 65535 deep, so that each may take several groups of rows.
  for (int64_t first = int64_t(blockIdx.y) * kRows; first < pass.rows; first += int64_t(gridDim.y) * kRows) {
    const int64_t last = first + kRows < pass.rows ? first + kRows : pass.rows;
    int32_t count = 0;
    for (int64_t row = first; row < last; ++row) {
      const Bits x = inside ? static_cast<const Bits*>(pass.x)[row * size + at] : Bits(0);
      const bool active = Format::is_active(x);
      count += active;
      if (edit != Edit::none && inside) {
        Bits constant = 0;
        bool faded = false;
        if (edit == Edit::cap) constant = static_cast<const Bits*>(pass.cap)[at];
        if (edit == Edit::scale)
          constant = static_cast<const Bits*>(pass.factor)[unit + (pass.factor_by_row ? row * pass.units : 0)];
        if (edit == Edit::fade) {
          constant = static_cast<const Bits*>(pass.keep)[row * pass.pixels + pixel];
          faded = pass.faded[row * pass.units + unit];
        }
        static_cast<Bits*>(pass.y)[row * size + at] = edited<Format, edit>(x, constant, faded);
      }
      if (pass.scores) {  // the same for the whole block, as the barrier in here demands
        const int low = __syncthreads_count(active && low_rate);
        if (threadIdx.x == 0 && low) atomicAdd(pass.scores + row, low);
      }
    }
    if (inside && pass.counts && count) atomicAdd(pass.counts + at, count);
  }
}

template <class Format>
void run(const Pass& pass, cudaStream_t stream) {
  const int64_t across = (pass.size() + kThreads - 1) / kThreads, groups = (pass.rows + kRows - 1) / kRows;
  if (!across || !groups) return;
  const dim3 grid(unsigned(across), unsigned(groups < 65535 ? groups : 65535));
  switch (pass.edit()) {
    case Edit::none: run<Format, Edit::none><<<grid, kThreads, 0, stream>>>(pass); break;
    case Edit::cap: run<Format, Edit::cap><<<grid, kThreads, 0, stream>>>(pass); break;
    case Edit::scale: run<Format, Edit::scale><<<grid, kThreads, 0, stream>>>(pass); break;
    case Edit::fade: run<Format, Edit::fade><<<grid, kThreads, 0, stream>>>(pass); break;
  }
}

}  // namespace

const char* run_on_cuda(const Pass& pass, Kind kind, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  switch (kind) {
    case Kind::float32: run<Float32>(pass, on); break;
    case Kind::float16: run<Float16>(pass, on); break;
    case Kind::bfloat16: run<BFloat16>(pass, on); break;
  }
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace ganfix
