// What is done to one value of a feature map, on every device.
//
// Values are handled by their bits: whether a half is positive, and which of two positive halves is
// greater, are questions about integers. Floats have instructions of their own for both.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __CUDACC__
#define GANFIX_FUNCTION __host__ __device__ __forceinline__
#else
#define GANFIX_FUNCTION inline
#endif

namespace ganfix {

template <class To, class From>
GANFIX_FUNCTION To bits_of(From value) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

struct Float32 {
  using Bits = uint32_t;
  static GANFIX_FUNCTION float value(Bits x) { return bits_of<float>(x); }
  static GANFIX_FUNCTION Bits round(float x) { return bits_of<Bits>(x); }
  static GANFIX_FUNCTION bool is_active(Bits x) { return value(x) > 0.0f; }
  static GANFIX_FUNCTION bool exceeds(Bits x, Bits cap) { return value(x) > value(cap); }
};

// Of 16 bits: as a signed integer, a positive value is 1 up to infinity. Zeros and negative values
// are below, NaN is above.
template <uint16_t infinity>
struct Half {
  using Bits = uint16_t;
  static GANFIX_FUNCTION bool is_active(Bits x) { return (int16_t(x) > 0) & (int16_t(x) <= int16_t(infinity)); }
  static GANFIX_FUNCTION bool exceeds(Bits x, Bits cap) { return is_active(x) & (x > cap); }
};

struct BFloat16 : Half<0x7F80u> {
  static GANFIX_FUNCTION float value(Bits x) { return bits_of<float>(uint32_t(x) << 16); }
  static GANFIX_FUNCTION Bits round(float x) {
    const uint32_t bits = bits_of<uint32_t>(x);
    const uint32_t to_even = bits + 0x7FFFu + ((bits >> 16) & 1u);
    return Bits(x == x ? to_even >> 16 : 0x7FC0u);
  }
};

// Both ways as in Marat Dukhan's FP16 library, which c10::Half uses too: without a branch, so that
// loops over them are vectorised.
struct Float16 : Half<0x7C00u> {
  static GANFIX_FUNCTION float value(Bits x) {
    const uint32_t wide = uint32_t(x) << 16, sign = wide & 0x80000000u, twice = wide + wide;
    const float normal = bits_of<float>((twice >> 4) + (0xE0u << 23)) * 0x1.0p-112f;
    const float subnormal = bits_of<float>((twice >> 17) | (126u << 23)) - 0.5f;
    return bits_of<float>(sign | bits_of<uint32_t>(twice < (1u << 27) ? subnormal : normal));
  }
  static GANFIX_FUNCTION Bits round(float x) {
    const uint32_t wide = bits_of<uint32_t>(x), sign = wide & 0x80000000u, twice = wide + wide;
    const float magnitude = bits_of<float>(wide & 0x7FFFFFFFu) * 0x1.0p+112f * 0x1.0p-110f;
    uint32_t bias = twice & 0xFF000000u;
    bias = bias < 0x71000000u ? 0x71000000u : bias;
    const uint32_t sum = bits_of<uint32_t>(bits_of<float>((bias >> 1) + 0x07800000u) + magnitude);
    const uint32_t rounded = ((sum >> 13) & 0x00007C00u) + (sum & 0x00000FFFu);
    return Bits((sign >> 16) | (twice > 0xFF000000u ? 0x7E00u : rounded));
  }
};

enum class Edit { none, cap, scale, fade };

// One value after an edit. `constant` is the cap (0 or more), the factor, or what a mask leaves;
// `faded` says whether the value belongs to a unit that is faded.
template <class Format, Edit edit>
GANFIX_FUNCTION typename Format::Bits edited(
    typename Format::Bits x, typename Format::Bits constant, bool faded) {
  using Bits = typename Format::Bits;
  if (edit == Edit::cap) return Format::exceeds(x, constant) ? constant : x;
  if (edit == Edit::none) return x;
  const Bits product = Format::round(Format::value(x) * Format::value(constant));
  return edit == Edit::scale || faded ? product : x;
}

// A pass over a dense feature map: `rows` samples of `size` neurons, which in memory are either
// units of pixels (contiguous) or pixels of units (channels_last). What belongs to neurons, `cap`,
// `low_rate` and `counts`, lies in the same order. Pointers are null where nothing is to be done.
struct Pass {
  const void* x;         // [rows, size]
  void* y;               // [rows, size], the edited feature map
  const void* cap;       // [size]
  const void* factor;    // [units], or [rows, units] with `factor_by_row`
  const void* keep;      // [rows, pixels], what a mask leaves
  const bool* faded;     // [rows, units]
  int32_t* counts;       // [size], grows by the number of rows in which a neuron is active
  const bool* low_rate;  // [size]
  int32_t* scores;       // [rows], grows by the number of low-rate neurons that are active
  int64_t rows, units, pixels;
  bool factor_by_row, channels_last;

  GANFIX_FUNCTION int64_t size() const { return units * pixels; }
  GANFIX_FUNCTION Edit edit() const {
    return cap ? Edit::cap : factor ? Edit::scale : keep ? Edit::fade : Edit::none;
  }
};

enum class Kind { float32, float16, bfloat16 };

void run_on_cpu(const Pass& pass, Kind kind);
// Returns what CUDA complains about, or null.
const char* run_on_cuda(const Pass& pass, Kind kind, void* stream);

}  // namespace ganfix
