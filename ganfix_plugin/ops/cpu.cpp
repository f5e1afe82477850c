// A pass on the CPU: pieces of the map small enough to stay in the cache while all rows go by.
#include "core.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace ganfix {
namespace {

constexpr int64_t kPiece = 1024;
constexpr int64_t kMostRows = 65535;  // before a count of 16 bits could overflow

// A stretch of some rows, `apart` from one another, in which either the unit or the pixel changes
// from value to value. What changes is read at every step, what stays is read once: that is what the
// strides are for. Not inlined, since compilers vectorise it by itself and not in the middle of
// everything.
template <class Format, Edit edit, int constant_stride, int faded_stride, bool counting, int rows>
[[gnu::noinline]] void stretch(
    const typename Format::Bits* __restrict x,
    typename Format::Bits* __restrict y,
    int64_t apart,
    const typename Format::Bits* __restrict constant,
    const bool* __restrict faded,
    const typename Format::Bits* __restrict low_rate,
    typename Format::Bits* __restrict active,
    typename Format::Bits* __restrict low,
    int64_t n) {
  using Bits = typename Format::Bits;
  Bits sums[rows] = {};
#pragma omp simd reduction(+ : sums[:rows])
  for (int64_t i = 0; i < n; ++i) {
    Bits count = 0;
#pragma GCC unroll 4
    for (int row = 0; row < rows; ++row) {
      const Bits value = x[row * apart + i];
      if (counting) {
        const Bits one = Format::is_active(value);
        count += one;
        sums[row] += one & low_rate[i];
      }
      if (edit != Edit::none) {
        const Bits c = constant[i * constant_stride];
        y[row * apart + i] = edited<Format, edit>(value, c, edit == Edit::fade && faded[i * faded_stride]);
      }
    }
    if (counting) active[i] += count;
  }
  for (int row = 0; row < rows; ++row) low[row] = sums[row];
}

template <class From, class To>
[[gnu::noinline]] void widen(const From* __restrict from, To* __restrict to, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) to[i] = from[i];
}

template <class Bits>
[[gnu::noinline]] void add(const Bits* __restrict active, int32_t* __restrict counts, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) counts[i] += active[i];
}

template <Edit edit>
constexpr bool by_unit = edit == Edit::scale || edit == Edit::fade;

// A piece of some rows from `row` on, neurons `begin` to `end`.
template <class Format, Edit edit, bool channels_last, bool counting, int rows>
void pass_piece(
    const Pass& pass,
    int64_t row,
    int64_t begin,
    int64_t end,
    const typename Format::Bits* low_rate,
    typename Format::Bits* active) {
  using Bits = typename Format::Bits;
  constexpr int constant_stride = edit == Edit::scale ? channels_last : edit != Edit::fade || !channels_last;
  const int64_t size = pass.size();
  const int64_t inner = !by_unit<edit> ? size : channels_last ? pass.units : pass.pixels;
  int32_t low[rows] = {};
  for (int64_t at = begin, n; at < end; at += n) {
    const int64_t outer = at / inner, offset = at % inner;
    n = std::min(inner - offset, end - at);
    const int64_t unit = channels_last ? offset : outer, pixel = channels_last ? outer : offset;
    const Bits* constant = nullptr;
    const bool* faded = nullptr;
    if (edit == Edit::cap) constant = static_cast<const Bits*>(pass.cap) + at;
    if (edit == Edit::scale)
      constant = static_cast<const Bits*>(pass.factor) + unit + (pass.factor_by_row ? row * pass.units : 0);
    if (edit == Edit::fade) {
      constant = static_cast<const Bits*>(pass.keep) + row * pass.pixels + pixel;
      faded = pass.faded + row * pass.units + unit;
    }
    Bits found[rows];
    stretch<Format, edit, constant_stride, channels_last, counting, rows>(
        static_cast<const Bits*>(pass.x) + row * size + at,
        static_cast<Bits*>(pass.y) + row * size + at,
        size,
        constant,
        faded,
        low_rate + (at - begin),
        active + (at - begin),
        found,
        n);
    for (int each = 0; each < rows; ++each) low[each] += found[each];
  }
  if (counting && pass.scores)
    for (int each = 0; each < rows; ++each) __atomic_fetch_add(pass.scores + row + each, low[each], __ATOMIC_RELAXED);
}

template <class Format, Edit edit, bool channels_last, bool counting>
void run(const Pass& pass) {
  using Bits = typename Format::Bits;
  // Several rows at once read once what belongs to neurons; what is done by unit may differ by row.
  constexpr int together = by_unit<edit> ? 1 : 4;
  const int64_t size = pass.size();

  at::parallel_for(0, (size + kPiece - 1) / kPiece, 8, [&](int64_t first, int64_t last) {
    Bits active[kPiece];
    Bits low_rate[kPiece] = {};
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t begin = piece * kPiece, end = std::min(begin + kPiece, size);
      if (counting && pass.scores) widen(reinterpret_cast<const uint8_t*>(pass.low_rate) + begin, low_rate, end - begin);
      for (int64_t row = 0; row < pass.rows;) {
        std::fill(active, active + kPiece, Bits(0));
        const int64_t pause = std::min(row + kMostRows, pass.rows);
        for (; row + together <= pause; row += together)
          pass_piece<Format, edit, channels_last, counting, together>(pass, row, begin, end, low_rate, active);
        for (; row < pause; ++row)
          pass_piece<Format, edit, channels_last, counting, 1>(pass, row, begin, end, low_rate, active);
        if (counting && pass.counts) add(active, pass.counts + begin, end - begin);
      }
    }
  });
}

template <class Format, Edit edit, bool channels_last>
void run(const Pass& pass) {
  if (pass.counts || pass.scores) run<Format, edit, channels_last, true>(pass);
  else if (edit != Edit::none) run<Format, edit, channels_last, false>(pass);
}

template <class Format>
void run(const Pass& pass) {
  switch (pass.edit()) {
    case Edit::none: return run<Format, Edit::none, false>(pass);
    case Edit::cap: return run<Format, Edit::cap, false>(pass);
    case Edit::scale:
      return pass.channels_last ? run<Format, Edit::scale, true>(pass) : run<Format, Edit::scale, false>(pass);
    case Edit::fade:
      return pass.channels_last ? run<Format, Edit::fade, true>(pass) : run<Format, Edit::fade, false>(pass);
  }
}

}  // namespace

void run_on_cpu(const Pass& pass, Kind kind) {
  switch (kind) {
    case Kind::float32: return run<Float32>(pass);
    case Kind::float16: return run<Float16>(pass);
    case Kind::bfloat16: return run<BFloat16>(pass);
  }
}

}  // namespace ganfix
