// Pooling: maximum, average, adaptive average, stochastic. ref.py is the truth.
//
// All are bound by memory when they are done right: each plane is read once and written once, in vectors. The headers
// tell how. Planes are shared among the threads, and the rows of one plane where planes are few.
#include "adaptive.h"
#include "average.h"
#include "max.h"
#include "max_backward.h"
#include "max_shared.h"
#include "max_values.h"
#include "stochastic.h"

FC_KERNELS(FC_FLOATS(max_forward), FC_FLOATS(max_backward), FC_FLOATS(avg_forward), FC_FLOATS(avg_backward),
           FC_FLOATS(adaptive_avg_forward), FC_FLOATS(adaptive_avg_backward), FC_FLOATS(stochastic_forward),
           FC_FLOATS(stochastic_inference), FC_FLOATS(max_shared_backward), FC_FLOATS(prepare_max),
           FC_FLOATS(prepare_average))
