// A pass on the CPU. The loops over values are functions of their own, for compilers to vectorise.
#include "pass.h"

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>

namespace ganfix {
namespace {

constexpr int64_t kPiece = 2048;   // neurons whose counts stay in the cache while all rows go by
constexpr int64_t kGrain = 32768;  // values at least that a thread takes

template <class T>
[[gnu::noinline]] void add_active(const T* __restrict x, int32_t* __restrict counts, int64_t n) {
  for (int64_t i = 0; i < n; ++i) counts[i] += float(x[i]) > 0.0f;
}

template <class T>
[[gnu::noinline]] int32_t sum_active(const T* __restrict x, const uint8_t* __restrict low_rate, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += int32_t(float(x[i]) > 0.0f) & low_rate[i];
  return sum;
}

// Along a line of memory either the units or the pixels change.
template <bool by_unit, class T>
[[gnu::noinline]] void fade_line(
    const T* __restrict x, T* __restrict y, const uint8_t* __restrict faded, const T* __restrict keep, int64_t n) {
  if (!by_unit && !*faded) return void(std::copy_n(x, n, y));
  for (int64_t i = 0; i < n; ++i) {
    const float product = float(x[i]) * float(keep[by_unit ? 0 : i]);
    y[i] = faded[by_unit ? i : 0] ? T(product) : x[i];
  }
}

template <class T>
void run(const Pass& pass) {
  const int64_t rows = pass.rows, units = pass.units, pixels = pass.pixels, size = pass.size;
  const auto *x = static_cast<const T*>(pass.x), *keep = static_cast<const T*>(pass.keep);
  auto* y = static_cast<T*>(pass.y);
  if (pass.counts)
    at::parallel_for(0, size, std::max(kPiece, kGrain / rows), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i += kPiece)
        for (int64_t row = 0; row < rows; ++row)
          add_active(x + row * size + i, pass.counts + i, std::min(kPiece, last - i));
    });
  if (pass.scores)
    at::parallel_for(0, rows, kGrain / size + 1, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; ++row) pass.scores[row] += sum_active(x + row * size, pass.low_rate, size);
    });
  if (y && pass.channels_last)
    at::parallel_for(0, rows * pixels, kGrain / units + 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        fade_line<true>(x + i * units, y + i * units, pass.faded + i / pixels * units, keep + i, units);
    });
  else if (y)
    at::parallel_for(0, rows * units, kGrain / pixels + 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        fade_line<false>(x + i * pixels, y + i * pixels, pass.faded + i, keep + i / units * pixels, pixels);
    });
}

}  // namespace

void run_on_cpu(const Pass& pass) {
  switch (pass.kind) {
    case Kind::float32: return run<float>(pass);
    case Kind::float16: return run<c10::Half>(pass);
    case Kind::bfloat16: return run<c10::BFloat16>(pass);
  }
}

}  // namespace ganfix
