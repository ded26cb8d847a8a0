// clamp(gain * act(x * scale + noise + b)) and its first two derivatives, in one pass over memory.
//
// x is seen as [samples, channels, pixels]; in memory the pixels lie together (contiguous) or the
// channels (channels last). Derivatives read a reference: the output y of the activations whose
// slope follows from it, otherwise the input x.

#include "types.cuh"

// What is added or multiplied before the activation. Modulated: any of scale, noise and b.
enum Terms { None, Bias, Modulated };

struct BiasActParams {
    const void* x;        // input; in the derivatives the reference
    const void* dy;       // first derivative: gradient of y; second: the same
    const void* ddz;      // second derivative: gradient of dz
    void* out;            // y; dz; gradient of dy
    void* out_reference;  // second derivative: gradient of the reference
    const void* b;        // [channels]
    const void* scale;    // [samples, channels]
    const void* noise;    // [samples or 1, pixels]
    long long size;
    long long channels;
    long long pixels;
    long long noise_step;  // elements of noise from one sample to the next
    double alpha;
    double gain;
    double clamp;  // negative: none
};

// Activations: the value, the slope and the slope's derivative. r is the argument z of the
// activation or, where from_output, its value.

struct Linear {
    static constexpr bool from_output = true;
    template <typename A> static __device__ A value(A z, A) { return z; }
    template <typename A> static __device__ A slope(A, A) { return A(1); }
    template <typename A> static __device__ A curve(A, A) { return A(0); }
};

struct Relu {
    static constexpr bool from_output = true;
    template <typename A> static __device__ A value(A z, A) { return z < A(0) ? A(0) : z; }
    template <typename A> static __device__ A slope(A r, A) { return r > A(0) ? A(1) : A(0); }
    template <typename A> static __device__ A curve(A, A) { return A(0); }
};

struct Lrelu {
    static constexpr bool from_output = true;
    template <typename A> static __device__ A value(A z, A alpha) { return z > A(0) ? z : z * alpha; }
    template <typename A> static __device__ A slope(A r, A alpha) { return r > A(0) ? A(1) : alpha; }
    template <typename A> static __device__ A curve(A, A) { return A(0); }
};

struct Tanh {
    static constexpr bool from_output = true;
    template <typename A> static __device__ A value(A z, A) { return tanh(z); }
    template <typename A> static __device__ A slope(A r, A) { return A(1) - r * r; }
    template <typename A> static __device__ A curve(A r, A) { return A(-2) * r; }
};

struct Sigmoid {
    static constexpr bool from_output = true;
    template <typename A> static __device__ A value(A z, A) { return A(1) / (A(1) + exp(-z)); }
    template <typename A> static __device__ A slope(A r, A) { return r * (A(1) - r); }
    template <typename A> static __device__ A curve(A r, A) { return A(1) - A(2) * r; }
};

struct Elu {
    static constexpr bool from_output = true;
    template <typename A> static __device__ A value(A z, A) { return z > A(0) ? z : expm1(z); }
    template <typename A> static __device__ A slope(A r, A) { return r > A(0) ? A(1) : r + A(1); }
    template <typename A> static __device__ A curve(A r, A) { return r > A(0) ? A(0) : A(1); }
};

struct Selu {
    static constexpr double lambda = 1.0507009873554804934193349852946;
    static constexpr double floor = 1.7580993408473768599402175208123;  // lambda * alpha
    static constexpr bool from_output = true;
    template <typename A> static __device__ A value(A z, A) {
        return z > A(0) ? A(lambda) * z : A(floor) * expm1(z);
    }
    template <typename A> static __device__ A slope(A r, A) {
        return r > A(0) ? A(lambda) : r + A(floor);
    }
    template <typename A> static __device__ A curve(A r, A) { return r > A(0) ? A(0) : A(1); }
};

struct Softplus {  // the identity above 20, as in torch
    static constexpr bool from_output = true;
    template <typename A> static __device__ A value(A z, A) {
        return z > A(20) ? z : log1p(exp(z));
    }
    template <typename A> static __device__ A slope(A r, A) {
        return r > A(20) ? A(1) : -expm1(-r);
    }
    template <typename A> static __device__ A curve(A r, A) { return r > A(20) ? A(0) : exp(-r); }
};

struct Swish {
    static constexpr bool from_output = false;
    template <typename A> static __device__ A sigmoid(A z) { return A(1) / (A(1) + exp(-z)); }
    template <typename A> static __device__ A value(A z, A) { return z * sigmoid(z); }
    template <typename A> static __device__ A slope(A z, A) {
        const A s = sigmoid(z);
        return s * (A(1) + z * (A(1) - s));
    }
    template <typename A> static __device__ A curve(A z, A) {
        const A s = sigmoid(z);
        return s * (A(1) - s) * (A(2) + z * (A(1) - A(2) * s));
    }
};

// N values from array[first] on, or N times array[first].
template <bool Consecutive, typename T, typename Index, int N>
__device__ __forceinline__ void load_term(const void* array, Index first,
                                          Accumulate<T> (&values)[N]) {
    const T* typed = static_cast<const T*>(array);
    if (Consecutive) {
        load<T>(typed + first, values);
        return;
    }
    const Accumulate<T> value = to_accumulate(typed[first]);
#pragma unroll
    for (int i = 0; i < N; ++i) {
        values[i] = value;
    }
}

// z = x * scale + noise + b, in place, for N elements of one row. A row is what lies together in
// memory: the pixels of one channel or, channels last, the channels of one pixel.
template <typename T, Terms terms, bool ChannelsLast, typename Index, int N>
__device__ __forceinline__ void add_terms(const BiasActParams& p, Index first,
                                          Accumulate<T> (&z)[N]) {
    if (terms == None) {
        return;
    }
    const Index channels = p.channels, pixels = p.pixels;
    const Index row = first / (ChannelsLast ? channels : pixels);
    const Index within = first - row * (ChannelsLast ? channels : pixels);
    const Index sample = row / (ChannelsLast ? pixels : channels);
    const Index across = row - sample * (ChannelsLast ? pixels : channels);
    const Index channel = ChannelsLast ? within : across;
    const Index pixel = ChannelsLast ? across : within;
    Accumulate<T> term[N];
    if (terms == Modulated && p.scale) {
        load_term<ChannelsLast, T>(p.scale, sample * channels + channel, term);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            z[i] *= term[i];
        }
    }
    if (terms == Modulated && p.noise) {
        load_term<!ChannelsLast, T>(p.noise, sample * Index(p.noise_step) + pixel, term);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            z[i] += term[i];
        }
    }
    if (terms == Bias || p.b) {
        load_term<ChannelsLast, T>(p.b, channel, term);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            z[i] += term[i];
        }
    }
}

// Order 0: y from x. Order 1: dz from dy. Order 2: from dy and ddz, the gradients of dy and of the
// reference. Each thread does N elements of one row: rows are a multiple of N long.
template <typename T, typename Act, int Order, Terms terms, bool ChannelsLast, typename Index,
          int N>
__global__ void bias_act(const BiasActParams p) {
    using A = Accumulate<T>;
    const Index first = (Index(blockIdx.x) * blockDim.x + threadIdx.x) * N;
    if (first >= Index(p.size)) {
        return;
    }
    const A alpha = p.alpha, gain = p.gain;
    const A clamp = to_accumulate(from_accumulate<T>(A(p.clamp)));  // as y can hold it
    const bool clamped = clamp >= A(0);

    A x[N];
    load<T>(static_cast<const T*>(p.x) + first, x);
    add_terms<T, terms, ChannelsLast>(p, first, x);

    if (Order == 0) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const A y = Act::value(x[i], alpha) * gain;
            x[i] = !clamped ? y : y > clamp ? clamp : y < -clamp ? -clamp : y;
        }
        store<T>(static_cast<T*>(p.out) + first, x);
        return;
    }

    A dy[N], ddz[N];
    load<T>(static_cast<const T*>(p.dy) + first, dy);
    if (Order == 2) {
        load<T>(static_cast<const T*>(p.ddz) + first, ddz);
    }
    const A to_value = gain == A(0) ? A(0) : A(1) / gain;
    const A curve_gain = Act::from_output ? A(1) : gain;  // from y: the gain cancels
#pragma unroll
    for (int i = 0; i < N; ++i) {
        const A r = Act::from_output ? x[i] * to_value : x[i];
        const A y = Act::from_output ? x[i] : Act::value(x[i], alpha) * gain;
        const bool open = !clamped || (y > -clamp && y < clamp);
        const A slope = open ? gain * Act::slope(r, alpha) : A(0);
        const A curve = open ? curve_gain * Act::curve(r, alpha) : A(0);
        if (Order == 1) {
            dy[i] *= slope;
        } else {
            const A product = ddz[i] * dy[i] * curve;
            dy[i] = ddz[i] * slope;
            ddz[i] = product;
        }
    }
    store<T>(static_cast<T*>(p.out) + first, dy);
    if (Order == 2) {
        store<T>(static_cast<T*>(p.out_reference) + first, ddz);
    }
}
