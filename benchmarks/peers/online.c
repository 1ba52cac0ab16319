/* Online training of one fixed network: the article's loop in C.

   peer_c.py writes NUMBER (float or double), TARGET, the sizes, and the calls of FORWARD and BACKWARD for each
   layer in the places @...@. All loops have constant bounds, and the weights are local, so the compiler may keep
   those of a tiny network in registers. */

#include <math.h>
#include <string.h>

typedef @NUMBER@ number;

#define LEAK ((number)@LEAK@)

/* y = W x + b, out = f(y) */
#define FORWARD(ins, outs, W, b, x, y, out)                            \
    for (int o = 0; o < outs; o++) {                                   \
        number sum = b[o];                                             \
        for (int i = 0; i < ins; i++) sum += W[o][i] * x[i];           \
        y[o] = sum;                                                    \
        out[o] = sum > LEAK * sum ? sum : LEAK * sum;                  \
    }

/* dx becomes db = df(y) dx */
#define DF(outs, y, dx) for (int o = 0; o < outs; o++) dx[o] *= y[o] > 0 ? (number)1 : LEAK;

/* the layer below gets dx = W^T db */
#define BELOW(ins, outs, W, db, dx)                                    \
    for (int i = 0; i < ins; i++) dx[i] = 0;                           \
    for (int o = 0; o < outs; o++)                                     \
        for (int i = 0; i < ins; i++) dx[i] += W[o][i] * db[o];

/* W -= lr db x^T, b -= lr db */
#define UPDATE(ins, outs, W, b, db, x)                                 \
    for (int o = 0; o < outs; o++) {                                   \
        const number step = lr * db[o];                                \
        for (int i = 0; i < ins; i++) W[o][i] -= step * x[i];          \
        b[o] -= step;                                                  \
    }

static inline void mse(const number *v, const number *t, number *dx) {
    for (int o = 0; o < OUTS; o++) dx[o] = (v[o] - t[o]) * (number)(2.0 / OUTS);
}

static inline void cross_entropy(const number *v, const long long *t, number *dx) {
    number top = v[0], total = 0;
    for (int o = 1; o < OUTS; o++) top = v[o] > top ? v[o] : top;
    for (int o = 0; o < OUTS; o++) total += dx[o] = EXP(v[o] - top);
    for (int o = 0; o < OUTS; o++) dx[o] /= total;
    dx[*t] -= 1;
}

void train(const number *X, const @TARGET@ *T, long n, long passes, double rate, number *parameters) {
    const number lr = (number)rate;
    @DECLARE@
    for (long pass = 0; pass < passes; pass++)
        for (long s = 0; s < n; s++) {
            const number *x0 = X + s * INS;
            const @TARGET@ *t = T + s * STRIDE;
            @FORWARD@
            LOSS(@OUTPUT@, t, @LAST@);
            @BACKWARD@
        }
    @STORE@
}
