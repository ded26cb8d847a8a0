// A stand-in for the driver, libcuda.so.1: one device of architecture 9.0, and a log on stderr of
// what the kernels' loader and launcher ask for. Each function not named here does nothing.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_CONTEXT = 201, NO_BINARY_FOR_GPU = 209 };

static void* current;

static int set(void** slot, intptr_t value) {
    *slot = (void*)value;
    return SUCCESS;
}

static int nothing(void) { return SUCCESS; }

static int cuDriverGetVersion(int* version) {
    *version = 13000;
    return SUCCESS;
}

static int cuDeviceGetCount(int* count) {
    *count = 1;
    return SUCCESS;
}

static int cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return SUCCESS;
}

static int cuDeviceGetAttribute(int* value, int attribute, int device) {
    *value = attribute == 75 ? 9 : 0;  // compute capability 9.0
    return SUCCESS;
}

static int cuDevicePrimaryCtxRetain(void** context, int device) { return set(context, 0x1000); }

static int cuCtxSetCurrent(void* context) {
    current = context;
    fprintf(stderr, "current\n");
    return SUCCESS;
}

static int cuCtxGetCurrent(void** context) { return set(context, (intptr_t)current); }

static int cuCtxGetDevice(int* device) {
    *device = 0;
    return SUCCESS;
}

static int cuLibraryLoadData(void** library, const char* code) {
    fprintf(stderr, "load %s\n", memcmp(code, "\177ELF", 4) ? "no cubin" : "cubin");
    return getenv("STUB_REFUSES") ? NO_BINARY_FOR_GPU : set(library, 0x2000);
}

static int cuLibraryGetKernel(void** kernel, void* library, const char* symbol) {
    fprintf(stderr, "kernel %s\n", symbol);
    return set(kernel, 0x3000);
}

static int cuKernelGetFunction(void** function, void* kernel) { return set(function, 0x4000); }

static int cuThreadExchangeStreamCaptureMode(int* mode) {
    fprintf(stderr, "capture mode %d\n", *mode);
    *mode = 0;
    return SUCCESS;
}

static int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                          unsigned by, unsigned bz, unsigned shared, void* stream, void** params,
                          void** extra) {
    fprintf(stderr, "launch %p grid %u %u %u block %u %u %u shared %u stream %p value %d\n",
            function, gx, gy, gz, bx, by, bz, shared, stream, *(int*)params[0]);
    static int calls;
    return calls++ == 0 ? INVALID_CONTEXT : SUCCESS;
}

int cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t flags,
                        int* status);

static const struct {
    const char* name;
    void* function;
} kFunctions[] = {
#define ENTRY(name) {#name, (void*)name}
    ENTRY(cuDriverGetVersion),
    ENTRY(cuDeviceGetCount),
    ENTRY(cuDeviceGet),
    ENTRY(cuDeviceGetAttribute),
    ENTRY(cuDevicePrimaryCtxRetain),
    ENTRY(cuCtxSetCurrent),
    ENTRY(cuCtxGetCurrent),
    ENTRY(cuCtxGetDevice),
    ENTRY(cuLibraryLoadData),
    ENTRY(cuLibraryGetKernel),
    ENTRY(cuKernelGetFunction),
    ENTRY(cuThreadExchangeStreamCaptureMode),
    ENTRY(cuLaunchKernel),
    {"cuGetProcAddress", (void*)cuGetProcAddress_v2},
};

int cuGetProcAddress_v2(const char* name, void** function, int version, uint64_t flags,
                        int* status) {
    *function = (void*)nothing;
    for (size_t i = 0; i < sizeof kFunctions / sizeof *kFunctions; ++i) {
        if (strcmp(name, kFunctions[i].name) == 0) {
            *function = kFunctions[i].function;
        }
    }
    return SUCCESS;
}
