// Insert zeros, pad, filter, keep every n-th pixel. Along each axis
//
//     y[o] = gain * sum_k h[k] * x[(o * down + k - before) / up]
//
// over those k for which the division is exact and the pixel exists; h is the filter reversed, or
// as it is with `flip`. Images are dense, channels before the pixels or after them. The transposed
// map has the same form, so that these kernels are their own backward passes.
//
// A thread's outputs begin on a pixel: at an output o with (o * down - before) divisible by up.
// Which taps meet which pixels is then known to the compiler, and the inserted zeros cost nothing.

#include "upfirdn2d.cuh"

// Taps * Taps taps in the order in which they meet the pixels, times the gain. A block shares the
// work; a barrier must follow.
template <int Taps, typename A>
__device__ void load_taps(A* taps, const UpfirdnParams& p) {
    const A* f = static_cast<const A*>(p.f);
    const int threads = blockDim.x * blockDim.y;
#pragma unroll 1
    for (int i = threadIdx.y * blockDim.x + threadIdx.x; i < Taps * Taps; i += threads) {
        const int tap = p.flip ? i : Taps * Taps - 1 - i;
        const A value = f == nullptr ? A(1) : p.separable ? f[tap / Taps] * f[tap % Taps] : f[tap];
        taps[i] = value * static_cast<A>(p.gain);
    }
}

// Adds one row of a window of pixels to the outputs of the window; each pixel and each output is a
// vector of N channels. Loops and conditions unroll into the products alone.
template <int Up, int Down, int Taps, int OutH, int OutW, int InW, int N, typename A>
__device__ __forceinline__ void add_row(A (&sums)[OutH][OutW * N], const A (&pixels)[InW * N],
                                        const A (&taps)[Taps * Taps], int row) {
#pragma unroll
    for (int oy = 0; oy < OutH; ++oy) {
        const int ky = row * Up - oy * Down;
#pragma unroll
        for (int ox = 0; ox < OutW; ++ox) {
#pragma unroll
            for (int ix = 0; ix < InW; ++ix) {
                const int kx = ix * Up - ox * Down;
                if (ky >= 0 && ky < Taps && kx >= 0 && kx < Taps) {
#pragma unroll
                    for (int i = 0; i < N; ++i) {
                        sums[oy][ox * N + i] += taps[ky * Taps + kx] * pixels[ix * N + i];
                    }
                }
            }
        }
    }
}

// Contiguous images and up to 4 x 4 taps. A block computes a square tile through shared memory, a
// thread OutW x OutH outputs. OutW 4 stores them as vectors and wants aligned rows.
template <typename T, int Up, int Down, int Taps, int Tile, int OutW, int OutH>
__global__ void __launch_bounds__(Tile / OutW * (Tile / OutH))
upfirdn2d_tile(const UpfirdnParams p) {
    using A = Accumulate<T>;
    constexpr int columns = Tile / OutW, threads = columns * (Tile / OutH);
    constexpr int in = span<Up, Down, Taps>(Tile), step = OutW * Down / Up;
    constexpr int reads = ceil_div(span<Up, Down, Taps>(OutW), step);  // vectors of a window's row
    constexpr int pitch = ceil_div((columns + reads - 1) * step, 4) * 4;
    __shared__ InputTile<T, Tile * Down / Up, in, in, pitch, threads> tile;
    __shared__ A shared_taps[Taps * Taps];

    const TilePosition at(p, Tile);
    load_taps<Taps>(shared_taps, p);
    tile.load(p, at.plane, (at.left * Down - p.before_x) / Up, (at.top * Down - p.before_y) / Up);
    __syncthreads();

    const int column = threadIdx.x % columns, row = threadIdx.x / columns;
    const int ox = at.left + column * OutW, oy = at.top + row * OutH;
    if (ox >= p.out_w || oy >= p.out_h) {
        return;
    }
    A taps[Taps * Taps], sums[OutH][OutW] = {};
#pragma unroll
    for (int i = 0; i < Taps * Taps; ++i) {
        taps[i] = shared_taps[i];
    }
    const A* window = tile.pixels + row * (OutH * Down / Up) * pitch + column * step;
#pragma unroll
    for (int iy = 0; iy < span<Up, Down, Taps>(OutH); ++iy) {
        A pixels[reads * step];
#pragma unroll
        for (int i = 0; i < reads * step; ++i) {
            pixels[i] = reinterpret_cast<const Vector<A, step>*>(window)[i / step].values[i % step];
        }
        add_row<Up, Down, Taps, OutH, OutW, reads * step, 1>(sums, pixels, taps, iy);
        window += pitch;
    }
    T* y = static_cast<T*>(p.y) + (at.plane * p.out_h + oy) * p.out_w + ox;
#pragma unroll
    for (int i = 0; i < OutH; ++i) {
        if (within(oy + i, p.out_h)) {
            if constexpr (OutW == 4) {
                store<T>(y, sums[i]);
            } else {
#pragma unroll
                for (int j = 0; j < OutW; ++j) {
                    if (within(ox + j, p.out_w)) {
                        y[j] = from_accumulate<T>(sums[i][j]);
                    }
                }
            }
        }
        y += p.out_w;
    }
}

// 16 bytes of T. As words, because the compiler takes halves apart in a load that has a condition.
using Words = Vector<unsigned int, 4>;

template <typename T, int N>
__device__ __forceinline__ void unpack(const Words& words, Accumulate<T>* values) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if constexpr (sizeof(T) == 2) {
            const unsigned int word = words.values[i / 2] >> (i % 2 * 16);
            values[i] = to_accumulate(T{static_cast<unsigned short>(word)});
        } else {
            values[i] = reinterpret_cast<const T*>(&words)[i];
        }
    }
}

// Channels last and up to 4 x 4 taps. A thread computes OutW x OutH outputs of 16 bytes of
// channels, a row of pixels at a time. Neighbouring threads of a block, (channels, columns), read
// the same pixels at about the same time, out of the L1 cache. The grid is (channels and columns,
// rows, images). In double two blocks at once are asked for, as otherwise ptxas aims at six of them
// on sm_86 and sm_89, and spills; 0 leaves the choice to it.
template <typename T, int Up, int Down, int Taps, int OutW, int OutH>
__global__ void __launch_bounds__(256, sizeof(T) == 8 ? 2 : 0)
upfirdn2d_channels_last(const UpfirdnParams p) {
    using A = Accumulate<T>;
    constexpr int n = 16 / sizeof(T), in_w = span<Up, Down, Taps>(OutW);
    __shared__ A shared_taps[Taps * Taps];
    load_taps<Taps>(shared_taps, p);
    __syncthreads();

    const int vectors = p.channels / n;
    const unsigned int blocks_v = (vectors + blockDim.x - 1) / blockDim.x;
    const int vector = blockIdx.x % blocks_v * blockDim.x + threadIdx.x;
    const int column = blockIdx.x / blocks_v * blockDim.y + threadIdx.y;
    const int ox = p.first_x + column * OutW, oy = p.first_y + static_cast<int>(blockIdx.y) * OutH;
    const long long image = blockIdx.z;
    if (vector >= vectors || ox >= p.out_w) {
        return;
    }
    A taps[Taps * Taps], sums[OutH][OutW * n] = {};
#pragma unroll
    for (int i = 0; i < Taps * Taps; ++i) {
        taps[i] = shared_taps[i];
    }
    const int ix = (ox * Down - p.before_x) / Up, iy = (oy * Down - p.before_y) / Up;
    const Words* x = static_cast<const Words*>(p.x) +
                     ((image * p.in_h + iy) * p.in_w + ix) * vectors + vector;
    Words* y = static_cast<Words*>(p.y) +
               ((image * p.out_h + oy) * p.out_w + ox) * vectors + vector;
#pragma unroll
    for (int row = 0; row < span<Up, Down, Taps>(OutH); ++row) {
        Words words[in_w] = {};
#pragma unroll
        for (int i = 0; i < in_w; ++i) {
            if (within(iy + row, p.in_h) && within(ix + i, p.in_w)) {
                words[i] = x[i * vectors];
            }
        }
        x += p.in_w * vectors;
        A pixels[in_w * n];
#pragma unroll
        for (int i = 0; i < in_w; ++i) {
            unpack<T, n>(words[i], pixels + i * n);
        }
        add_row<Up, Down, Taps, OutH, OutW, in_w, n>(sums, pixels, taps, row);
#pragma unroll
        for (int i = 0; i < OutH; ++i) {
            if (row == (i * Down + Taps - 1) / Up) {  // the last row that output row i needs
#pragma unroll
                for (int j = 0; j < OutW; ++j) {
                    if (within(oy + i, p.out_h) && within(ox + j, p.out_w)) {
                        store<T>(reinterpret_cast<T*>(y + j * vectors),
                                 reinterpret_cast<const A(&)[n]>(sums[i][j * n]));
                    }
                }
                y += p.out_w * vectors;
            }
        }
    }
}

// Out neighbouring outputs of one line of pixels, `stride` apart.
template <int Up, int Down, int Taps, int Out, typename A>
__device__ __forceinline__ void filter_line(A (&sums)[Out], const A* pixels, int stride,
                                            const A (&taps)[Taps]) {
#pragma unroll
    for (int i = 0; i < span<Up, Down, Taps>(Out); ++i) {
        const A pixel = pixels[i * stride];
#pragma unroll
        for (int o = 0; o < Out; ++o) {
            const int k = i * Up - o * Down;
            if (k >= 0 && k < Taps) {
                sums[o] += taps[k] * pixel;
            }
        }
    }
}

// Contiguous images and a 1-D filter for both axes: along x and then along y in shared memory.
template <typename T, int Up, int Down, int Taps, int Tile, int Out>
__global__ void __launch_bounds__(256) upfirdn2d_separable(const UpfirdnParams p) {
    using A = Accumulate<T>;
    constexpr int in = span<Up, Down, Taps>(Tile), step = Out * Down / Up;
    constexpr int pitch = in | 1, line = Tile | 1;  // odd: a column lies in all the banks
    __shared__ InputTile<T, Tile * Down / Up, in, in, pitch, 256> tile;
    __shared__ A lines[in * line];  // filtered along x

    const TilePosition at(p, Tile);
    const A* f = static_cast<const A*>(p.f);
    A taps[Taps];
#pragma unroll
    for (int k = 0; k < Taps; ++k) {
        taps[k] = f[p.flip ? k : Taps - 1 - k];
    }
    tile.load(p, at.plane, (at.left * Down - p.before_x) / Up, (at.top * Down - p.before_y) / Up);
    __syncthreads();

    for (int item = threadIdx.x; item < in * (Tile / Out); item += 256) {
        const int row = item % in, group = item / in;
        A sums[Out] = {};
        filter_line<Up, Down, Taps>(sums, tile.pixels + row * pitch + group * step, 1, taps);
#pragma unroll
        for (int i = 0; i < Out; ++i) {
            lines[row * line + group * Out + i] = sums[i];
        }
    }
    __syncthreads();

    const A gain = static_cast<A>(p.gain);
    for (int item = threadIdx.x; item < Tile * (Tile / Out); item += 256) {
        const int column = item % Tile, group = item / Tile;
        const int ox = at.left + column, oy = at.top + group * Out;
        A sums[Out] = {};
        filter_line<Up, Down, Taps>(sums, lines + group * step * line + column, line, taps);
        T* y = static_cast<T*>(p.y) + (at.plane * p.out_h + oy) * p.out_w + ox;
#pragma unroll
        for (int i = 0; i < Out; ++i) {
            if (within(ox, p.out_w) && within(oy + i, p.out_h)) {
                *y = from_accumulate<T>(sums[i] * gain);
            }
            y += p.out_w;
        }
    }
}

// Everything else: one output a thread and f 2-D. Index holds the offset of any element.
template <typename T, typename Index>
__global__ void __launch_bounds__(256) upfirdn2d_general(const UpfirdnParams p) {
    using A = Accumulate<T>;
    const Index i = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
    if (i >= static_cast<Index>(p.images) * p.channels * p.out_h * p.out_w) {
        return;
    }
    const Index inner = p.channels_last ? p.channels : 1;  // elements from a pixel to the next
    const Index pixel = i / inner, row = pixel / p.out_w;
    const int ox = pixel % p.out_w, oy = row % p.out_h;
    const T* x = static_cast<const T*>(p.x) + row / p.out_h * p.in_h * p.in_w * inner + i % inner;
    const A* f = static_cast<const A*>(p.f);

    const int start_x = ox * p.down_x - p.before_x, start_y = oy * p.down_y - p.before_y;
    const int first_x = start_x > 0 ? ceil_div(start_x, p.up_x) : 0;
    const int first_y = start_y > 0 ? ceil_div(start_y, p.up_y) : 0;
    A sum = 0;
    int ky = first_y * p.up_y - start_y;
    for (int iy = first_y; iy < p.in_h && ky < p.taps_y; ++iy, ky += p.up_y) {
        int kx = first_x * p.up_x - start_x;
        for (int ix = first_x; ix < p.in_w && kx < p.taps_x; ++ix, kx += p.up_x) {
            const int tap = ky * p.taps_x + kx, last = p.taps_y * p.taps_x - 1;
            const A value = f == nullptr ? A(1) : f[p.flip ? tap : last - tap];
            sum += value * to_accumulate(x[(static_cast<Index>(iy) * p.in_w + ix) * inner]);
        }
    }
    static_cast<T*>(p.y)[i] = from_accumulate<T>(sum * static_cast<A>(p.gain));
}
