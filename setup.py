"""Build the extensions. Metadata is in pyproject.toml; here is what a table cannot say.

Every folder of src/kernels is an op, installed as fastconv.kernels.<op>. Two files in it are compiled:

cy.pyx    the Cython entry points, once: fastconv.kernels.<op>.cy
isa.cpp   the C++ kernels, once per instruction set: fastconv.kernels.<op>.isa_baseline, .isa_avx2, .isa_avx512;
          the engine (fastconv.kernels._cpu.engine) loads the best one that the processor supports.

FASTCONV_BUILD_ONLY=conv2d,pool2d builds only these ops and the engine; FASTCONV_SYMBOLS=1 keeps their symbols.
"""

import copy
import os
import platform
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
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
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
ISA_FLAGS = {"baseline": [], "avx2": AVX2, "avx512": AVX512} if IS_X86 else {"baseline": []}

# NaN and infinities are defined results, so the compiler keeps to IEEE rules; only a*b + c may be rounded once (FMA).
FLAGS = [
    "-std=c++17", "-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast",
    "-fvisibility=hidden", "-fno-semantic-interposition",
]  # fmt: skip
# Without symbols (a twentieth of the wheel) unless FASTCONV_SYMBOLS=1 keeps them, for profilers.
STRIPPED = [] if os.environ.get("FASTCONV_SYMBOLS") == "1" else ["-Wl,-s"]
LINK_FLAGS = ["-Wl,--as-needed", *STRIPPED] if sys.platform == "linux" else []
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION")]
HEADERS = sorted(map(str, CPU.glob("*.h")))
BORROWED = {"winograd_stride2": "winograd", "winograd_rows": "winograd"}  # ops that include another one's headers


def extension(name, sources, flags=(), macros=()):
    """One C++ extension of the package fastconv.kernels, rebuilt when a header that it may include changes."""
    folder = Path(sources[0]).parent
    lender = KERNELS / BORROWED.get(folder.name, folder.name)
    return Extension(
        f"fastconv.kernels.{name}",
        sources=[str(s) for s in sources],
        include_dirs=[str(CPU), str(folder), numpy.get_include()],
        define_macros=[*MACROS, *macros],
        extra_compile_args=[*FLAGS, *flags],
        extra_link_args=LINK_FLAGS,
        depends=sorted({*HEADERS, *map(str, folder.glob("*.h")), *map(str, lender.glob("*.h"))}),
        language="c++",
    )


def extensions():
    """The engine, and for every op its entry points and its kernels for each instruction set."""
    only = {op for op in os.environ.get("FASTCONV_BUILD_ONLY", "").split(",") if op}
    unknown = sorted(op for op in only if not (KERNELS / op).is_dir())
    if unknown:
        raise SystemExit(f"FASTCONV_BUILD_ONLY names {unknown}, which are not folders of {KERNELS}")

    yield extension("_cpu.engine", [CPU / "engine.pyx", *sorted(CPU.glob("*.cpp"))])
    for module in ("remember", "straight"):
        yield extension(f"_cpu.{module}", [CPU / f"{module}.pyx"])
    for folder in sorted(path.parent for path in KERNELS.glob("*/__init__.py")):
        op = folder.name
        if only and op not in only:
            continue
        if (folder / "cy.pyx").exists():
            yield extension(f"{op}.cy", [folder / "cy.pyx"])
        if (folder / "isa.cpp").exists():
            for isa, flags in ISA_FLAGS.items():
                yield extension(f"{op}.isa_{isa}", [folder / "isa.cpp"], flags, [("FC_ISA", isa)])


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


setup(
    packages=[
        *find_packages(include=["fastconv", "fastconv.*"]),
        "fastconv.kernels",
        *(f"fastconv.kernels.{name}" for name in find_packages(str(KERNELS))),
    ],
    package_dir={"fastconv.kernels": str(KERNELS)},
    include_package_data=False,  # sources are for the sdist (MANIFEST.in)
    package_data={"fastconv": ["py.typed"], "": ["*.pyi"]},
    ext_modules=cythonize(
        list(extensions()),
        build_dir="build/cython",
        include_path=[cython_include_folder()],
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
        },
    ),
    cmdclass={"build_ext": BuildExtensions},
)
