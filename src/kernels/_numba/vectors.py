"""Vectors of consecutive or of every n-th number, for rows too short for LLVM's own vectorizer: lanes may be left out.

A vector holds as many of its array's numbers as a register; vectors of int64 positions have the lanes of the floats
that they go with, whatever registers that takes. Lanes from `lo` on and before `hi` are read or
written, the others neither touched nor trusted. Indices are 64 bits wide and not checked.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from .jit import inline
from .simd import VECTOR_BYTES

I64, I32, I1 = ir.IntType(64), ir.IntType(32), ir.IntType(1)


class VectorType(types.Type):
    """The Numba type of a vector."""

    def __init__(self, dtype: types.Number, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"Vector({dtype}, {lanes})")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _llvm_vector(fe_type))


def _element(dtype):
    if isinstance(dtype, types.Integer):
        return ir.IntType(dtype.bitwidth)
    return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()


def _llvm_vector(vector):
    return ir.VectorType(_element(vector.dtype), vector.lanes)


def _splat(builder, scalar, lanes):
    vector = ir.VectorType(scalar.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(
        single, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), None)
    )


def _numbers(kind, lanes, start=0, step=1):
    """The constant vector (start, start + step, ...)."""
    return ir.Constant(ir.VectorType(kind, lanes), [start + step * k for k in range(lanes)])


def _bits(builder, lo, hi):
    """An int64 whose bits from lo on and before hi are set; 0 <= lo, hi < 64."""
    one, all_ones = ir.Constant(I64, 1), ir.Constant(I64, -1)
    before = builder.sub(builder.shl(one, hi), one)
    return builder.and_(before, builder.shl(all_ones, lo))


def _mask(builder, bits, lanes, start=0):
    """The truths of `lanes` bits from bit `start` on."""
    part = builder.trunc(builder.lshr(bits, ir.Constant(I64, start)), ir.IntType(lanes))
    return builder.bitcast(part, ir.VectorType(I1, lanes))


def _even_bits(builder, lo, hi):
    """For lanes lo to hi that are every second number: all numbers from the first to the last."""
    double_lo, double_hi = (builder.shl(v, ir.Constant(I64, 1)) for v in (lo, hi))
    bits = _bits(builder, ir.Constant(I64, 0), double_hi)
    last_left_out = builder.lshr(bits, ir.Constant(I64, 1))
    return builder.and_(last_left_out, builder.shl(ir.Constant(I64, -1), double_lo))


def _pointer(context, builder, array_type, array, index, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _suffix(vector):
    element = vector.element
    letter = f"i{element.width}" if isinstance(element, ir.IntType) else "f32" if element == ir.FloatType() else "f64"
    return f"v{vector.count}{letter}"


def _masked_load(builder, pointer, mask, fill):
    vector = fill.type
    kind = ir.FunctionType(vector, [pointer.type, I32, mask.type, vector])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.load.{_suffix(vector)}.p0")
    return builder.call(function, [pointer, ir.Constant(I32, 1), mask, fill])


def _masked_store(builder, value, pointer, mask):
    kind = ir.FunctionType(ir.VoidType(), [value.type, pointer.type, I32, mask.type])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.store.{_suffix(value.type)}.p0")
    builder.call(function, [value, pointer, ir.Constant(I32, 1), mask])


def _plus(builder, index, count):
    return builder.add(index, ir.Constant(I64, count))


def lanes_of(array):
    """How many of the array's numbers a register holds."""
    return VECTOR_BYTES // array.dtype.itemsize


@overload(lanes_of)
def _lanes_of(array):
    count = VECTOR_BYTES * 8 // array.dtype.bitwidth
    return lambda array: count


@intrinsic
def _load_near(typingctx, x, i, lo, hi, fill, like):
    """x[i : i + lanes], `fill` in the lanes that are left out; as many lanes as an array like `like` has."""
    vector = VectorType(x.dtype, VECTOR_BYTES * 8 // like.dtype.bitwidth)

    def codegen(context, builder, signature, args):
        x_value, i_value, lo_value, hi_value, fill_value, _ = args
        fills = _splat(builder, fill_value, vector.lanes)
        pointer = _pointer(context, builder, x, x_value, i_value, fills.type)
        return _masked_load(builder, pointer, _mask(builder, _bits(builder, lo_value, hi_value), vector.lanes), fills)

    return vector(x, types.int64, types.int64, types.int64, x.dtype, like), codegen


@intrinsic
def _load_second(typingctx, x, i, lo, hi, fill):
    """x[i], x[i + 2], ...: two neighbouring vectors, their even numbers put together."""
    vector = VectorType(x.dtype, VECTOR_BYTES * 8 // x.dtype.bitwidth)
    lanes = vector.lanes

    def codegen(context, builder, signature, args):
        x_value, i_value, lo_value, hi_value, fill_value = args
        fills = _splat(builder, fill_value, lanes)
        bits, halves = _even_bits(builder, lo_value, hi_value), []
        for start in (0, lanes):
            pointer = _pointer(context, builder, x, x_value, _plus(builder, i_value, start), fills.type)
            halves.append(_masked_load(builder, pointer, _mask(builder, bits, lanes, start), fills))
        return builder.shuffle_vector(*halves, _numbers(I32, lanes, 0, 2))

    return vector(x, types.int64, types.int64, types.int64, x.dtype), codegen


@intrinsic
def _load_far(typingctx, x, i, step, lo, hi, fill):
    """x[i], x[i + step], ...: one number at a time."""
    vector = VectorType(x.dtype, VECTOR_BYTES * 8 // x.dtype.bitwidth)

    def codegen(context, builder, signature, args):
        x_value, i_value, step_value, lo_value, hi_value, fill_value = args
        slot = cgutils.alloca_once_value(builder, _splat(builder, fill_value, vector.lanes))
        data = context.make_array(x)(context, builder, x_value).data
        with cgutils.for_range_slice(builder, lo_value, hi_value, ir.Constant(I64, 1), I64) as (lane, _):
            number = builder.load(builder.gep(data, [builder.add(i_value, builder.mul(lane, step_value))]))
            builder.store(builder.insert_element(builder.load(slot), number, lane), slot)
        return builder.load(slot)

    return vector(x, types.int64, types.int64, types.int64, types.int64, x.dtype), codegen


@inline
def load(x, i, step, lo, hi, fill):
    """The vector of x[i + lane*step], `fill` in the lanes that are left out."""
    if step == 1:
        return _load_near(x, i, lo, hi, fill, x)
    if step == 2:
        return _load_second(x, i, lo, hi, fill)
    return _load_far(x, i, step, lo, hi, fill)


@inline
def load_positions(x, i, hi, like):
    """The vector of x[i : i + hi] of int64, with the lanes of an array like `like`."""
    return _load_near(x, i, 0, hi, 0, like)


@intrinsic
def store(typingctx, y, i, vector, hi):
    """y[i : i + hi] = vector"""

    def codegen(context, builder, signature, args):
        y_value, i_value, value, hi_value = args
        pointer = _pointer(context, builder, y, y_value, i_value, value.type)
        bits = _bits(builder, ir.Constant(I64, 0), hi_value)
        _masked_store(builder, value, pointer, _mask(builder, bits, vector.lanes))
        return context.get_dummy_value()

    return types.void(y, types.int64, vector, types.int64), codegen


@intrinsic
def add(typingctx, a, b):
    """a + b"""

    def codegen(context, builder, signature, args):
        return builder.fadd(*args) if isinstance(a.dtype, types.Float) else builder.add(*args)

    return a(a, b), codegen


@intrinsic
def divide(typingctx, a, b):
    """a / b"""
    return a(a, b), lambda context, builder, signature, args: builder.fdiv(*args)


@intrinsic
def spread(typingctx, scalar, like):
    """The scalar in every lane of a vector with the lanes of an array like `like`."""
    vector = VectorType(scalar, VECTOR_BYTES * 8 // like.dtype.bitwidth)
    return vector(scalar, like), lambda context, builder, signature, args: _splat(builder, args[0], vector.lanes)


@intrinsic
def is_larger(typingctx, value, best):
    """Where value > best, or value is NaN: a vector of truths."""
    truths = VectorType(types.uint8, value.lanes)

    def codegen(context, builder, signature, args):
        larger = builder.fcmp_ordered(">", *args)
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.zext(builder.or_(larger, nan), context.get_value_type(truths))

    return truths(value, best), codegen


@intrinsic
def choose(typingctx, truths, a, b):
    """a where true, else b"""

    def codegen(context, builder, signature, args):
        where = builder.trunc(args[0], ir.VectorType(I1, a.lanes))
        return builder.select(where, args[1], args[2])

    return a(truths, a, b), codegen


@intrinsic
def steps(typingctx, start, step, like):
    """(start, start + step, ...) with the lanes of an array like `like`."""
    vector = VectorType(types.int64, VECTOR_BYTES * 8 // like.dtype.bitwidth)

    def codegen(context, builder, signature, args):
        first, by = (_splat(builder, v, vector.lanes) for v in args[:2])
        return builder.add(first, builder.mul(by, _numbers(I64, vector.lanes)))

    return vector(types.int64, types.int64, like), codegen


@intrinsic
def _add_near(typingctx, y, i, vector, lo, hi):
    def codegen(context, builder, signature, args):
        y_value, i_value, value, lo_value, hi_value = args
        pointer = _pointer(context, builder, y, y_value, i_value, value.type)
        mask = _mask(builder, _bits(builder, lo_value, hi_value), vector.lanes)
        there = _masked_load(builder, pointer, mask, ir.Constant(value.type, None))
        _masked_store(builder, builder.fadd(there, value), pointer, mask)
        return context.get_dummy_value()

    return types.void(y, types.int64, vector, types.int64, types.int64), codegen


@intrinsic
def _add_second(typingctx, y, i, vector, lo, hi):
    lanes = vector.lanes

    def codegen(context, builder, signature, args):
        y_value, i_value, value, lo_value, hi_value = args
        nothing, bits = ir.Constant(value.type, None), _even_bits(builder, lo_value, hi_value)
        for start in (0, lanes):
            # Every other number of the memory is another window's, or nobody's: zero is added to it.
            order = [start // 2 + k // 2 if k % 2 == 0 else lanes for k in range(lanes)]
            part = builder.shuffle_vector(value, nothing, ir.Constant(ir.VectorType(I32, lanes), order))
            pointer = _pointer(context, builder, y, y_value, _plus(builder, i_value, start), value.type)
            mask = _mask(builder, bits, lanes, start)
            there = _masked_load(builder, pointer, mask, nothing)
            _masked_store(builder, builder.fadd(there, part), pointer, mask)
        return context.get_dummy_value()

    return types.void(y, types.int64, vector, types.int64, types.int64), codegen


@intrinsic
def _add_far(typingctx, y, i, step, vector, lo, hi):
    def codegen(context, builder, signature, args):
        y_value, i_value, step_value, value, lo_value, hi_value = args
        data = context.make_array(y)(context, builder, y_value).data
        with cgutils.for_range_slice(builder, lo_value, hi_value, ir.Constant(I64, 1), I64) as (lane, _):
            pointer = builder.gep(data, [builder.add(i_value, builder.mul(lane, step_value))])
            builder.store(builder.fadd(builder.load(pointer), builder.extract_element(value, lane)), pointer)
        return context.get_dummy_value()

    return types.void(y, types.int64, types.int64, vector, types.int64, types.int64), codegen


@inline
def add_at(y, i, step, vector, lo, hi):
    """y[i + lane*step] += vector[lane]"""
    if step == 1:
        _add_near(y, i, vector, lo, hi)
    elif step == 2:
        _add_second(y, i, vector, lo, hi)
    else:
        _add_far(y, i, step, vector, lo, hi)


@intrinsic
def _store_second(typingctx, y, i, vector, hi):
    lanes = vector.lanes

    def codegen(context, builder, signature, args):
        y_value, i_value, value, hi_value = args
        bits = builder.and_(_even_bits(builder, ir.Constant(I64, 0), hi_value), ir.Constant(I64, 0x5555555555555555))
        for start in (0, lanes):
            order = ir.Constant(ir.VectorType(I32, lanes), [(start + k) // 2 for k in range(lanes)])
            part = builder.shuffle_vector(value, value, order)
            pointer = _pointer(context, builder, y, y_value, _plus(builder, i_value, start), value.type)
            _masked_store(builder, part, pointer, _mask(builder, bits, lanes, start))
        return context.get_dummy_value()

    return types.void(y, types.int64, vector, types.int64), codegen


@intrinsic
def _store_far(typingctx, y, i, step, vector, hi):
    def codegen(context, builder, signature, args):
        y_value, i_value, step_value, value, hi_value = args
        data = context.make_array(y)(context, builder, y_value).data
        first, one = ir.Constant(I64, 0), ir.Constant(I64, 1)
        with cgutils.for_range_slice(builder, first, hi_value, one, I64) as (lane, _):
            pointer = builder.gep(data, [builder.add(i_value, builder.mul(lane, step_value))])
            builder.store(builder.extract_element(value, lane), pointer)
        return context.get_dummy_value()

    return types.void(y, types.int64, types.int64, vector, types.int64), codegen


@inline
def store_at(y, i, step, vector, hi):
    """y[i + lane*step] = vector[lane], lane < hi"""
    if step == 1:
        store(y, i, vector, hi)
    elif step == 2:
        _store_second(y, i, vector, hi)
    else:
        _store_far(y, i, step, vector, hi)


@inline
def lanes_inside(start, step, extent, count):
    """(lo, hi): which of `count` lanes, the first at `start`, the next a step further, are inside of [0, extent)."""
    if start >= 0 and start + (count - 1) * step < extent:
        return 0, count
    lo = 0 if start >= 0 else (-start + step - 1) // step
    hi = 0 if start >= extent else (extent - 1 - start) // step + 1
    return min(lo, count), min(hi, count)
