"""Build the extensions. Metadata is in pyproject.toml; here is what a table cannot say.

Every folder of src/kernels is an op, installed as fastconv.kernels.<op>. Two files in it are compiled:

cy.pyx    the Cython entry points, once: fastconv.kernels.<op>.cy
isa.cpp   the C++ kernels, once per instruction set: fastconv.kernels.<op>.isa_baseline, .isa_avx2, .isa_avx512;
          the engine (fastconv.kernels._cpu.engine) loads the best one that the processor supports.

The environment chooses what is built and how:

FASTCONV_BUILD_ONLY=conv2d,pool2d         only these ops, and the engine
FASTCONV_BUILD_ISA=baseline,avx2          only these instruction sets; FASTCONV_ISA must then name one of them
FASTCONV_SYMBOLS=1                        keep the symbols, for profilers
FASTCONV_SANITIZE=address,undefined       with sanitizers and hardly optimised (tools/sanitize.py)

The kernels need POSIX threads and memory maps, and GCC's or Clang's vector types. On Windows nothing is compiled: the
package has its NumPy and Numba backends there.
"""

import copy
import os
import platform
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise SystemExit(
        f"fastconv cannot be built for this free-threaded Python {platform.python_version()}t: what the compiled "
        "engine remembers between calls is guarded by the global interpreter lock. Use the usual build of this Python."
    )

KERNELS = Path("src/kernels")
CPU = KERNELS / "_cpu"

AVX2 = ["-mavx2", "-mfma", "-mf16c", "-mbmi2"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mprefer-vector-width=512"]
# -O3 unrolls loops that nobody on an x86 without AVX2 waits for: with -O2 its kernels take a twelfth less of the wheel,
# and conv2d's and depthwise's together half of the time to compile.
X86_ISAS = {"baseline": ["-O2"], "avx2": AVX2, "avx512": AVX512}

# Of what Cython makes between Python and the kernels: -O3 makes it a tenth larger, 35 KB of the wheel. A convolution of
# one small image is called .08 faster with it (.53 us for .57), other calls are not.
ENTRY_FLAGS = ["-O2"]
ENTRIES_AT_O3 = {"conv2d"}

# The vectors of these are written out. What the compiler adds to them, for the few numbers that are left, is a quarter
# of the code of pooling (0.08 MB of the wheel). Without it 34 calls of pooling took 1.00 of their time, 12 convolutions
# 1.01.
EXPLICIT = {op: ["-fno-tree-loop-vectorize"] for op in ("pool2d", "winograd_rows")}

# NaN and infinities are defined results, so the compiler keeps to IEEE rules; only a*b + c may be rounded once (FMA).
FLAGS = [
    "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fvisibility=hidden", "-fno-semantic-interposition",
]  # fmt: skip
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION")]
HEADERS = sorted(map(str, [*CPU.glob("*.h"), CPU / "exports.map"]))
BORROWED = {"winograd_stride2": "winograd", "winograd_rows": "winograd"}  # ops that include another one's headers


def named(variable):
    """The names in an environment variable, separated by commas."""
    return {name for name in os.environ.get(variable, "").split(",") if name}


def processors(platform, archflags=""):
    """The processors that the extensions are for: the target's, which need not be those of the machine that compiles.

    `platform` is sysconfig.get_platform(): what this Python builds for, or _PYTHON_HOST_PLATFORM in a cross
    compilation. On macOS a Python may be for two processors at once, and ARCHFLAGS overrides what it is for.
    """
    if platform.startswith("macosx"):
        words = archflags.split()
        chosen = {after for word, after in pairwise(words) if word == "-arch"}
        if chosen:
            return chosen
    machine = platform.rsplit("-", 1)[-1].lower()
    several = {"universal2": {"arm64", "x86_64"}, "intel": {"i386", "x86_64"}}
    return several.get(machine, {"x86_64" if machine == "amd64" else machine})


def isa_flags(platform, archflags=""):
    """The instruction sets to compile kernels for, each with the compiler's flags; none where nothing is compiled.

    Where one call of the compiler makes code for two processors, a flag names the one that it is for.
    """
    if platform.startswith(("win", "mingw")):
        return {}
    targets = processors(platform, archflags)
    if "x86_64" not in targets:
        return {"baseline": []}
    if targets == {"x86_64"}:
        return X86_ISAS
    return {isa: [word for flag in flags for word in ("-Xarch_x86_64", flag)] for isa, flags in X86_ISAS.items()}


def build_flags(platform):
    """(for the compiler, for the linker): optimisation, symbols and sanitizers."""
    linker = ["-pthread"]
    if platform.startswith("linux"):
        linker += ["-Wl,--as-needed", f"-Wl,--version-script={CPU / 'exports.map'}"]
    elif platform.startswith("macosx"):
        linker += ["-Wl,-exported_symbol,_PyInit_*", "-Wl,-exported_symbol,_fastconv_*"]  # as exports.map
    sanitizers = os.environ.get("FASTCONV_SANITIZE")
    if sanitizers:
        # Many Pythons ask for -fwrapv, under which the overflow of a signed number is no finding.
        flags = [f"-fsanitize={sanitizers}", "-O1", "-g1", "-fno-omit-frame-pointer", "-fno-wrapv"]
        return flags, [*linker, *flags]
    if platform.startswith("linux") and os.environ.get("FASTCONV_SYMBOLS") != "1":
        linker += ["-Wl,-s"]  # a twentieth of the wheel
    return ["-O3", "-g0"], linker


def extension(name, sources, flags=(), macros=()):
    """One C++ extension of the package fastconv.kernels, rebuilt when a header that it may include changes."""
    import numpy

    compiler, linker = build_flags(sysconfig.get_platform())
    folder = Path(sources[0]).parent
    lender = KERNELS / BORROWED.get(folder.name, folder.name)
    return Extension(
        f"fastconv.kernels.{name}",
        sources=[str(s) for s in sources],
        include_dirs=[str(CPU), str(folder), numpy.get_include()],
        define_macros=[*MACROS, *macros],
        extra_compile_args=["-std=c++17", *compiler, *FLAGS, *flags],
        extra_link_args=linker,
        depends=sorted({*HEADERS, *map(str, folder.glob("*.h")), *map(str, lender.glob("*.h"))}),
        language="c++",
    )


def extensions():
    """The engine, and for every op its entry points and its kernels for each instruction set."""
    isas = isa_flags(sysconfig.get_platform(), os.environ.get("ARCHFLAGS", ""))
    if not isas:
        print("fastconv: no compiled kernels on this system; the NumPy and Numba backends are installed alone")
        return
    only, only_isas = named("FASTCONV_BUILD_ONLY"), named("FASTCONV_BUILD_ISA")
    unknown = sorted(op for op in only if not (KERNELS / op).is_dir())
    if unknown:
        raise SystemExit(f"FASTCONV_BUILD_ONLY names {unknown}, which are not folders of {KERNELS}")
    if only_isas - isas.keys():
        raise SystemExit(f"FASTCONV_BUILD_ISA names {sorted(only_isas - isas.keys())}; known here: {', '.join(isas)}")

    yield extension("_cpu.engine", [CPU / "engine.pyx", *sorted(CPU.glob("*.cpp"))])
    for module in ("remember", "straight"):
        yield extension(f"_cpu.{module}", [CPU / f"{module}.pyx"])
    for folder in sorted(path.parent for path in KERNELS.glob("*/__init__.py")):
        op = folder.name
        if only and op not in only:
            continue
        if (folder / "cy.pyx").exists():
            yield extension(f"{op}.cy", [folder / "cy.pyx"], ["-O3"] if op in ENTRIES_AT_O3 else ENTRY_FLAGS)
        if (folder / "isa.cpp").exists():
            for isa, flags in isas.items():
                if only_isas and isa not in only_isas:
                    continue
                more = EXPLICIT.get(op, [])
                yield extension(f"{op}.isa_{isa}", [folder / "isa.cpp"], [*flags, *more], [("FC_ISA", isa)])


class BuildExtensions(build_ext):
    """build_ext with an object folder per extension (one source is compiled three times) and parallel by default."""

    def build_extensions(self):
        """Build all extensions, as many at a time as there are processors or as --parallel asks."""
        with ThreadPoolExecutor(max_workers=self.parallel or os.cpu_count()) as pool:
            for built in [pool.submit(self.build_extension, ext) for ext in self.extensions]:
                built.result()

    def build_extension(self, ext):
        """Build one extension in a folder of its own."""
        worker = copy.copy(self)
        worker.build_temp = str(Path(self.build_temp, ext.name))
        build_ext.build_extension(worker, ext)


def cython_include_folder():
    """A folder in which Cython finds the package fastconv.kernels where Python will: its .pxd files are in src."""
    package = Path("build/cython_include/fastconv")
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.pxd").touch()
    link = package / "kernels"
    if not (link.exists() and link.samefile(KERNELS)):
        link.unlink(missing_ok=True)
        link.symlink_to(KERNELS.resolve(), target_is_directory=True)
    return str(package.parent)


def compiled():
    """The extensions, their Cython translated to C++."""
    found = list(extensions())
    if not found:
        return []
    from Cython.Build import cythonize

    return cythonize(
        found,
        build_dir="build/cython",
        include_path=[cython_include_folder()],
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
        },
    )


if __name__ == "__main__":  # the tests import this file
    setup(
        packages=[
            *find_packages(include=["fastconv", "fastconv.*"]),
            "fastconv.kernels",
            *(f"fastconv.kernels.{name}" for name in find_packages(str(KERNELS))),
        ],
        package_dir={"fastconv.kernels": str(KERNELS)},
        include_package_data=False,  # sources are for the sdist (MANIFEST.in)
        package_data={"fastconv": ["py.typed"], "": ["*.pyi"]},
        ext_modules=compiled(),
        cmdclass={"build_ext": BuildExtensions},
    )
