"""
First steps with functions
==========================

Arrays go in and arrays come out. This page meets the perceptron, activations, losses and gradients, each as a function.
"""

import numpy as np

from fastconv import functions, plots
from fastconv.gradient import gradient_descent, numerical_gradient

# %%
# A perceptron fires if the weighted sum of its inputs is above a threshold. One makes AND; XOR takes two layers.
inputs = [(0, 0), (0, 1), (1, 0), (1, 1)]
for gate in (functions.AND, functions.NAND, functions.OR, functions.XOR):
    print(f"{gate.__name__:4}", [int(gate(a, b)) for a, b in inputs])

# %%
# A perceptron can learn AND from its errors. The first input is always -1, so that its weight is the threshold.
samples = [(-1, a, b) for a, b in inputs]
weights, errors = functions.perceptron_rule(samples, [0, 0, 0, 1], [0.3, 0.4, 0.1])
print("learned weights:", weights.round(3), "errors in each loop:", errors)
plots.error_per_loop(errors, "perceptron.png")

# %%
# A network of three layers is three matrix products with a function after each of the first two.
x = np.array([1.0, 0.5])
W1, b1 = np.array([[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]), np.array([0.1, 0.2, 0.3])
W2, b2 = np.array([[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]), np.array([0.1, 0.2])
W3, b3 = np.array([[0.1, 0.3], [0.2, 0.4]]), np.array([0.1, 0.2])
hidden = functions.sigmoid(functions.sigmoid(x @ W1 + b1) @ W2 + b2)
scores = hidden @ W3 + b3
print("scores:", scores)

# %%
# Softmax makes probabilities of scores, however large these are. A loss compares them with the answer.
print("softmax:", functions.softmax(np.array([1010.0, 1000.0, 990.0])))
probabilities = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
answer = np.eye(10)[2]
print("mean squared error:", functions.mean_squared_error(probabilities, answer))
print("cross entropy:", functions.cross_entropy_error(probabilities, answer))


# %%
# A gradient tells how a function changes with each of its inputs; gradient descent follows it down.
def bowl(x):
    return np.sum(x**2)


print("gradient at (3, 4):", numerical_gradient(bowl, np.array([3.0, 4.0])))
print("after 100 steps:", gradient_descent(bowl, np.array([-3.0, 4.0]), lr=0.1))
