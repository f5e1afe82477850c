// A pass over a feature map, as library.cpp hands it to the kernels of either device.
#pragma once

#include <cstdint>

namespace ganfix {

enum class Kind { float32, float16, bfloat16 };

// The map is dense and not empty: `rows` samples of `size` neurons, which in memory are either
// units of pixels (contiguous) or pixels of units (channels_last). What belongs to neurons lies in
// the same order. `counts`, `scores` or `y` says which op it is, the other two are null.
struct Pass {
  const void* x;            // [rows, size]
  int32_t* counts;          // [size]
  int32_t* scores;          // [rows]
  const uint8_t* low_rate;  // [size], 0 or 1, for scores
  void* y;                  // [rows, size]
  const uint8_t* faded;     // [rows, units], 0 or 1, for y
  const void* keep;         // [rows, pixels], for y
  int64_t rows, units, pixels, size;
  Kind kind;  // of x, y and keep
  bool channels_last;
};

void run_on_cpu(const Pass& pass);
const char* run_on_cuda(const Pass& pass, void* stream);  // returns what CUDA complains about, or null

}  // namespace ganfix
