// Enough of CUDA C++ to compile the kernels for the host, unchanged, and to run them.
//
// The threads of a block are fibres that take turns at __syncthreads(). They run in rising or in
// falling order: a kernel that lacks a barrier gives different numbers in the two.

#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __restrict__ __restrict
#define __forceinline__ inline
#define __launch_bounds__(...)

using std::exp, std::expm1, std::log1p, std::max, std::min, std::tanh;

struct dim3 {
    unsigned int x, y, z;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

inline float __uint_as_float(unsigned int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned int __float_as_uint(float value) {
    unsigned int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

template <typename T>
inline T __ldg(const T* address) {
    return *address;
}

// IEEE 754 binary16: 1 sign bit, 5 of exponent (bias 15), 10 of fraction.
inline float half_bits_to_float(unsigned short bits) {
    const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
    float value = exponent == 0    ? std::ldexp(float(fraction), -24)
                  : exponent == 31 ? (fraction ? NAN : INFINITY)
                                   : std::ldexp(float(1024 + fraction), exponent - 25);
    return bits & 0x8000 ? -value : value;
}

inline unsigned short float_to_half_bits(float value) {
    const unsigned short sign = std::signbit(value) ? 0x8000 : 0;
    const double magnitude = std::fabs(double(value));
    if (std::isnan(value)) return 0x7fff;
    if (magnitude >= 65520) return sign | 0x7c00;
    if (magnitude == 0) return sign;
    int exponent;
    std::frexp(magnitude, &exponent);
    exponent = std::max(exponent, -13);  // subnormals share one spacing
    const int steps = int(std::nearbyint(std::ldexp(magnitude, 11 - exponent)));  // ties to even
    const int bits = steps + ((exponent + 13) << 10);  // a carry raises the exponent
    return sign | static_cast<unsigned short>(bits);
}

// ---- blocks of threads ----

struct Fibre {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[kStackBytes]};
    bool running = false;
    static constexpr size_t kStackBytes = 1 << 16;
};

struct Machine {
    ucontext_t scheduler;
    std::vector<Fibre> fibres;
    Fibre* current = nullptr;
    void (*call)(const void*) = nullptr;
    const void* closure = nullptr;
};

static Machine machine;

inline void __syncthreads() { swapcontext(&machine.current->context, &machine.scheduler); }

inline void run_fibre() {
    machine.call(machine.closure);
    machine.current->running = false;
    swapcontext(&machine.current->context, &machine.scheduler);
}

inline void start_fibre(Fibre& fibre) {
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = Fibre::kStackBytes;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, run_fibre, 0);
    fibre.running = true;
}

// One round lets each thread run up to its next barrier, or to its end. As on a GPU, threads that
// have ended no longer take part in barriers.
inline void run_block(unsigned int threads, bool falling) {
    if (machine.fibres.size() < threads) machine.fibres = std::vector<Fibre>(threads);
    for (unsigned int i = 0; i < threads; ++i) start_fibre(machine.fibres[i]);
    for (bool any = true; any;) {
        any = false;
        for (unsigned int k = 0; k < threads; ++k) {
            const unsigned int i = falling ? threads - 1 - k : k;
            machine.current = &machine.fibres[i];
            if (!machine.current->running) continue;
            threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
            swapcontext(&machine.scheduler, &machine.current->context);
            any = any || machine.current->running;
        }
    }
}

struct Shape {
    unsigned int grid[3], block[3];
    int falling;  // order of the threads of a block
};

template <typename Params>
void run_kernel(void (*kernel)(Params), const Shape& shape, const void* params) {
    struct Closure {
        void (*kernel)(Params);
        const Params* params;
    } closure{kernel, static_cast<const Params*>(params)};
    machine.closure = &closure;
    machine.call = [](const void* c) {
        const auto* closure = static_cast<const Closure*>(c);
        closure->kernel(*closure->params);
    };
    gridDim = {shape.grid[0], shape.grid[1], shape.grid[2]};
    blockDim = {shape.block[0], shape.block[1], shape.block[2]};
    for (unsigned int z = 0; z < gridDim.z; ++z)
        for (unsigned int y = 0; y < gridDim.y; ++y)
            for (unsigned int x = 0; x < gridDim.x; ++x) {
                blockIdx = {x, y, z};
                run_block(blockDim.x * blockDim.y * blockDim.z, shape.falling);
            }
}
