// Storage types, their arithmetic type, and vectors of 16 bytes. No CUDA or torch headers.
//
// half_t and bfloat16_t only store: arithmetic is in Accumulate<T>, which is float for them and for
// float, and double for double.

#pragma once

struct half_t {
    unsigned short bits;
};

struct bfloat16_t {
    unsigned short bits;
};

template <typename T>
struct AccumulateOf {
    using type = float;
};

template <>
struct AccumulateOf<double> {
    using type = double;
};

template <typename T>
using Accumulate = typename AccumulateOf<T>::type;

#ifdef __CUDA_ARCH__

__device__ __forceinline__ float half_bits_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ __forceinline__ unsigned short float_to_half_bits(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

#endif  // the tests, which compile this for the host, bring their own

__device__ __forceinline__ unsigned short float_to_bfloat16_bits(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#else
    unsigned int bits = __float_as_uint(value);
    if (value != value) {
        return 0x7fff;
    }
    bits += 0x7fff + ((bits >> 16) & 1);  // to nearest, ties to even
    return static_cast<unsigned short>(bits >> 16);
#endif
}

__device__ __forceinline__ float to_accumulate(half_t value) {
    return half_bits_to_float(value.bits);
}

__device__ __forceinline__ float to_accumulate(bfloat16_t value) {
    return __uint_as_float(static_cast<unsigned int>(value.bits) << 16);
}

__device__ __forceinline__ float to_accumulate(float value) { return value; }

__device__ __forceinline__ double to_accumulate(double value) { return value; }

template <typename T>
__device__ __forceinline__ T from_accumulate(Accumulate<T> value) {
    return value;
}

template <>
__device__ __forceinline__ half_t from_accumulate<half_t>(float value) {
    return {float_to_half_bits(value)};
}

template <>
__device__ __forceinline__ bfloat16_t from_accumulate<bfloat16_t>(float value) {
    return {float_to_bfloat16_bits(value)};
}

// N elements that are read and written at once; N * sizeof(T) is 16 bytes, or N is 1.
template <typename T, int N>
struct alignas(sizeof(T) * N) Vector {
    T values[N];
};

template <typename T, int N>
__device__ __forceinline__ void load(const T* address, Accumulate<T> (&values)[N]) {
    const Vector<T, N> loaded = *reinterpret_cast<const Vector<T, N>*>(address);
#pragma unroll
    for (int i = 0; i < N; ++i) {
        values[i] = to_accumulate(loaded.values[i]);
    }
}

template <typename T, int N>
__device__ __forceinline__ void store(T* address, const Accumulate<T> (&values)[N]) {
    Vector<T, N> stored;
#pragma unroll
    for (int i = 0; i < N; ++i) {
        stored.values[i] = from_accumulate<T>(values[i]);
    }
    *reinterpret_cast<Vector<T, N>*>(address) = stored;
}

// Put values into elements first .. first + N - 1 of an array, leaving out those beyond its end.
template <typename T, int N, typename Index>
__device__ __forceinline__ void store(T* array, Index first, Index size,
                                      const Accumulate<T> (&values)[N]) {
    if (first + N <= size) {
        store<T>(array + first, values);
    } else {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            if (first + i < size) {
                array[first + i] = from_accumulate<T>(values[i]);
            }
        }
    }
}
