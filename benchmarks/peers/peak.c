/* As many fused multiply-adds as the processor can do: twelve vectors that never leave their registers. */

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define ACCUMULATORS 12 /* more than the FMA's latency times the FMAs of a cycle */

#define PEAK(name, number)                                                        \
    typedef number name##_vector __attribute__((vector_size(BYTES)));             \
    double name(long rounds) { /* returns the operations done */                  \
        name##_vector sums[ACCUMULATORS], a, b;                                   \
        for (int i = 0; i < ACCUMULATORS; i++) sums[i] = (name##_vector){(number)i}; \
        a = (name##_vector){} + (number)0.999, b = (name##_vector){} + (number)0.001; \
        for (long r = 0; r < rounds; r++)                                         \
            _Pragma("GCC unroll 12") for (int i = 0; i < ACCUMULATORS; i++) sums[i] = sums[i] * a + b; \
        for (int i = 1; i < ACCUMULATORS; i++) sums[0] += sums[i];                \
        volatile number keep = sums[0][0];                                        \
        (void)keep;                                                               \
        return 2.0 * ACCUMULATORS * (BYTES / sizeof(number)) * rounds;            \
    }

PEAK(peak_float32, float)
PEAK(peak_float64, double)
