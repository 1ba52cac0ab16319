/* Online training by FANN, sample by sample; peer_fann.py compiles it against the library of one type of numbers. */

#include HEADER

/* All neurons are linear, and nothing but the product of the rate and the gradient moves a weight. */
struct fann *make(unsigned layers, const unsigned *sizes, float rate) {
    struct fann *net = fann_create_standard_array(layers, sizes);
    if (!net) return net;
    fann_set_activation_function_hidden(net, FANN_LINEAR);
    fann_set_activation_function_output(net, FANN_LINEAR);
    fann_set_activation_steepness_hidden(net, 1);
    fann_set_activation_steepness_output(net, 1);
    fann_set_train_error_function(net, FANN_ERRORFUNC_LINEAR);
    fann_set_training_algorithm(net, FANN_TRAIN_INCREMENTAL);
    fann_set_learning_momentum(net, 0);
    fann_set_learning_rate(net, rate);
    return net;
}

/* Neuron after neuron, each its weights and then its bias. */
fann_type *parameters(struct fann *net) { return net->weights; }

void train(struct fann *net, fann_type *X, fann_type *T, long n, long passes) {
    const unsigned ins = fann_get_num_input(net), outs = fann_get_num_output(net);
    for (long pass = 0; pass < passes; pass++)
        for (long s = 0; s < n; s++) fann_train(net, X + s * ins, T + s * outs);
}
