// What the kernels of upfirdn2d.cu share: their parameters, and tiles of pixels in shared memory.

#pragma once

#include "types.cuh"

struct UpfirdnParams {
    const void* x;  // [images, channels, in_h, in_w]
    const void* f;  // [taps_y, taps_x] or, for both axes, [taps] in Accumulate<T>; null: one tap, 1
    void* y;        // [images, channels, out_h, out_w]
    double gain;
    int images, channels;
    int in_w, in_h, out_w, out_h;
    int up_x, up_y, down_x, down_y, before_x, before_y;
    int taps_x, taps_y;
    int first_x, first_y;  // the last outputs at or before 0 that begin on a pixel
    int separable;         // f is 1-D
    int flip;
    int channels_last;
};

__device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// Pixels under some neighbouring outputs.
template <int Up, int Down, int Taps>
__device__ constexpr int span(int outputs) {
    return ((outputs - 1) * Down + Taps - 1) / Up + 1;
}

__device__ __forceinline__ bool within(int i, int size) {
    return static_cast<unsigned int>(i) < static_cast<unsigned int>(size);
}

// The pixels under a tile of outputs in shared memory, zeros where there are none. Neighbouring
// threads read neighbouring pixels, whatever their alignment: most of a row at once, and then what
// the filter needs beside it.
template <typename T, int Body, int InW, int InH, int Pitch, int Threads>
struct InputTile {
    static constexpr int rows = Threads / Body, steps = ceil_div(InH, rows);
    static constexpr int batches = ceil_div(steps, 18), batch = ceil_div(steps, batches);
    static constexpr int beside = InW - Body, beside_steps = ceil_div(InH * beside, Threads);
    static_assert(rows > 0, "a row needs a thread for each column");

    alignas(32) Accumulate<T> pixels[batches * batch * rows * Pitch];

    // The tile whose first pixel is (left, top), of one plane. A barrier must follow.
    __device__ __forceinline__ void load(const UpfirdnParams& p, long long plane, int left,
                                         int top) {
        const T* x = static_cast<const T*>(p.x) + plane * p.in_h * p.in_w;
        T loaded_beside[beside_steps > 0 ? beside_steps : 1];
#pragma unroll
        for (int i = 0; i < beside_steps; ++i) {
            const int item = threadIdx.x + i * Threads;
            const int ix = left + Body + item % beside, iy = top + item / beside;
            loaded_beside[i] = T{};
            if (within(ix, p.in_w) && within(iy, p.in_h)) {
                loaded_beside[i] = x[static_cast<long long>(iy) * p.in_w + ix];
            }
        }
        load_body(p, x, left + threadIdx.x % Body, top + threadIdx.x / Body);
#pragma unroll
        for (int i = 0; i < beside_steps; ++i) {
            const int item = threadIdx.x + i * Threads;
            if (item < InH * beside) {
                pixels[item / beside * Pitch + Body + item % beside] =
                    to_accumulate(loaded_beside[i]);
            }
        }
    }

private:
    // A thread reads one column, a batch of rows at a time to have many loads in flight. The loop
    // over batches must stay one: unrolled, each load would compute its address from the start.
    __device__ __forceinline__ void load_body(const UpfirdnParams& p, const T* x, int ix, int iy) {
        const int row = threadIdx.x / Body;
        const bool reads = row < rows && within(ix, p.in_w);
        Accumulate<T>* to = pixels + row * Pitch + threadIdx.x % Body;
        x += static_cast<long long>(iy) * p.in_w + ix;
#pragma unroll 1
        for (int step = 0; step < steps; step += batch) {
            T loaded[batch];
#pragma unroll
            for (int i = 0; i < batch; ++i) {
                loaded[i] = T{};
                if (reads && within(iy, p.in_h)) {
                    loaded[i] = *x;
                }
                x += rows * p.in_w;
                iy += rows;
            }
#pragma unroll
            for (int i = 0; i < batch; ++i) {
                if (row < rows) {
                    to[i * rows * Pitch] = to_accumulate(loaded[i]);
                }
            }
            to += batch * rows * Pitch;
        }
    }
};

// Where the tile of a block lies.
struct TilePosition {
    long long plane;  // image * channels + channel
    int left, top;    // first output

    __device__ TilePosition(const UpfirdnParams& p, int tile) {
        const unsigned int tiles_x = ceil_div(p.out_w - p.first_x, tile);
        const unsigned int tiles_y = ceil_div(p.out_h - p.first_y, tile);
        const unsigned int row = blockIdx.x / tiles_x;
        left = p.first_x + static_cast<int>(blockIdx.x % tiles_x) * tile;
        top = p.first_y + static_cast<int>(row % tiles_y) * tile;
        plane = row / tiles_y;
    }
};
