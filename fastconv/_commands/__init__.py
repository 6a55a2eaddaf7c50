"""What the program ``fastconv`` does with a model: predict, bench MODEL, info MODEL.

arguments.py  values of the command line, and errors as one line
models.py     MODEL: an ONNX file, or a network of this library with saved parameters
inputs.py     INPUT: pictures and arrays, as samples for a model
predict.py    scores of samples
describe.py   operators, parameters and arithmetic of an ONNX file
timing.py     ours and ONNX Runtime's time, a process each
"""
