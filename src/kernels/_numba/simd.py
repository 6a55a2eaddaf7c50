"""Tiles of vectors that stay in registers: what Numba's arrays cannot promise, in a handful of intrinsics.

A tile is ROWS x VECTORS vectors of `LANES` numbers, one value of LLVM's own vector types, so that its parts live in
registers from `zeros` to `store` or `store_totals`. Two ways of filling it, for the two shapes of matrix product:

step_outer   tile[r, v] += w[j + r] * x[i + v*L : ...]         vectors along the result; w is packed, ROWS side by side
step_inner   tile[r, s] += a[i + rows[r] : ...] * b[j + columns[s] : ...]      vectors along the sum

Indices count elements, are 64 bits wide, and are not checked. Products and sums become FMA where there is one.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2]


def _vector_bytes() -> int:
    """The width of the vectors that the compiler's target has."""
    if "+avx512f" in _FEATURES:
        return 64
    return 32 if "+avx" in _FEATURES else 16


VECTOR_BYTES = _vector_bytes()
WIDE = VECTOR_BYTES == 64  # 32 registers; the others have 16


class TileType(types.Type):
    """The Numba type of a tile; its name, and so its identity, holds its dimensions."""

    def __init__(self, dtype: types.Float, rows: int, vectors: int) -> None:
        self.dtype, self.rows, self.vectors = dtype, rows, vectors
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(f"Tile({dtype}, {rows}x{vectors}x{self.lanes})")


def _vector(tile: TileType) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if tile.dtype.bitwidth == 32 else ir.DoubleType(), tile.lanes)


@register_model(TileType)
class _TileModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.ArrayType(_vector(fe_type), fe_type.rows * fe_type.vectors))


def _pointer(context, builder, array_type, array, index):
    """&array[index], unchecked."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _load(builder, tile, pointer):
    vector = builder.load(builder.bitcast(pointer, _vector(tile).as_pointer()))
    vector.align = tile.dtype.bitwidth // 8
    return vector


def _splat(builder, tile, scalar):
    vector = _vector(tile)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        single, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), tile.lanes), None)
    )


def _multiply_add(builder, tile, a, b, c):
    vector = _vector(tile)
    name = f"llvm.fmuladd.v{tile.lanes}f{tile.dtype.bitwidth}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    return builder.call(function, [a, b, c])


@intrinsic(prefer_literal=True)
def zeros(typingctx, like, rows, vectors):
    """A tile of zeros of the array's dtype; `rows` and `vectors` are literals."""
    tile = TileType(like.dtype, rows.literal_value, vectors.literal_value)

    def codegen(context, builder, signature, args):
        return ir.Constant(context.get_value_type(tile), None)

    return tile(like, rows, vectors), codegen


@intrinsic
def step_outer(typingctx, tile, x, i, w, j):
    """tile[r, v] += w[j + r] * x[i + v*lanes : i + (v + 1)*lanes]"""

    def codegen(context, builder, signature, args):
        acc, x_value, i_value, w_value, j_value = args
        x_pointer = _pointer(context, builder, x, x_value, i_value)
        w_pointer = _pointer(context, builder, w, w_value, j_value)
        at = lambda pointer, k: builder.gep(pointer, [ir.Constant(ir.IntType(64), k)])  # noqa: E731
        sources = [_load(builder, tile, at(x_pointer, v * tile.lanes)) for v in range(tile.vectors)]
        for r in range(tile.rows):
            factor = _splat(builder, tile, builder.load(at(w_pointer, r)))
            for v, source in enumerate(sources):
                k = r * tile.vectors + v
                acc = builder.insert_value(
                    acc, _multiply_add(builder, tile, factor, source, builder.extract_value(acc, k)), k
                )
        return acc

    return tile(tile, x, types.int64, w, types.int64), codegen


@intrinsic
def store(typingctx, tile, y, i, pitch):
    """y[i + r*pitch + v*lanes : ...] = tile[r, v]"""

    def codegen(context, builder, signature, args):
        acc, y_value, i_value, pitch_value = args
        for r in range(tile.rows):
            row = builder.add(i_value, builder.mul(pitch_value, ir.Constant(ir.IntType(64), r)))
            for v in range(tile.vectors):
                index = builder.add(row, ir.Constant(ir.IntType(64), v * tile.lanes))
                pointer = _pointer(context, builder, y, y_value, index)
                stored = builder.store(
                    builder.extract_value(acc, r * tile.vectors + v),
                    builder.bitcast(pointer, _vector(tile).as_pointer()),
                )
                stored.align = tile.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(tile, y, types.int64, types.int64), codegen


@intrinsic
def add_stored(typingctx, tile, y, i, pitch):
    """The tile plus what `store` with the same arguments would overwrite."""

    def codegen(context, builder, signature, args):
        acc, y_value, i_value, pitch_value = args
        for r in range(tile.rows):
            row = builder.add(i_value, builder.mul(pitch_value, ir.Constant(ir.IntType(64), r)))
            for v in range(tile.vectors):
                index, k = builder.add(row, ir.Constant(ir.IntType(64), v * tile.lanes)), r * tile.vectors + v
                there = _load(builder, tile, _pointer(context, builder, y, y_value, index))
                acc = builder.insert_value(acc, builder.fadd(builder.extract_value(acc, k), there), k)
        return acc

    return tile(tile, y, types.int64, types.int64), codegen


@intrinsic
def step_inner(typingctx, tile, a, i, rows, r, b, j, columns, s):
    """tile[k, l] += a[i + rows[r + k] : ... + lanes] * b[j + columns[s + l] : ... + lanes]"""

    def codegen(context, builder, signature, args):
        acc, a_value, i_value, rows_value, r_value, b_value, j_value, columns_value, s_value = args

        def vectors(array_type, array, start, offsets_type, offsets, first, count):
            base, offset = (
                _pointer(context, builder, kind, value, index)
                for kind, value, index in ((array_type, array, start), (offsets_type, offsets, first))
            )
            at = (builder.load(builder.gep(offset, [ir.Constant(ir.IntType(64), k)])) for k in range(count))
            return [_load(builder, tile, builder.gep(base, [k])) for k in at]

        left = vectors(a, a_value, i_value, rows, rows_value, r_value, tile.rows)
        right = vectors(b, b_value, j_value, columns, columns_value, s_value, tile.vectors)
        for k in range(tile.rows * tile.vectors):
            row, column = divmod(k, tile.vectors)
            acc = builder.insert_value(
                acc, _multiply_add(builder, tile, left[row], right[column], builder.extract_value(acc, k)), k
            )
        return acc

    indices = types.int64
    return tile(tile, a, indices, rows, indices, b, indices, columns, indices), codegen


@intrinsic
def store_totals(typingctx, tile, z):
    """z[r*VECTORS + s] = the sum of tile[r, s]'s lanes, in an order that is fixed when it is compiled."""

    def codegen(context, builder, signature, args):
        vector = _vector(tile)
        name = f"llvm.vector.reduce.fadd.v{tile.lanes}f{tile.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector.element, [vector.element, vector]), name
        )
        zero = ir.Constant(vector.element, 0.0)
        for k in range(tile.rows * tile.vectors):
            total = builder.call(function, [zero, builder.extract_value(args[0], k)], fastmath=("reassoc",))
            builder.store(total, _pointer(context, builder, z, args[1], ir.Constant(ir.IntType(64), k)))
        return context.get_dummy_value()

    return types.void(tile, z), codegen
