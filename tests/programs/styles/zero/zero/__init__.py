from zero.core import Function, Parameter, Variable, as_variable

__all__ = ["Function", "Parameter", "Variable", "as_variable"]
