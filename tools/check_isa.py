"""Check every compiled module: no instruction above the set that it is for, and no symbol that others could take.

    python tools/check_isa.py [FOLDER | WHEEL]       the installed package, if nothing is named

Modules that every processor loads (cy, engine, isa_baseline) may use SSE2 alone, isa_avx2 nothing of AVX-512. A
function of a standard header that was compiled for AVX2 must not become visible: the loader may give it to another
module, or to another library, that asked for a function of this name. So a module exports its init function and
nothing else.

Needs objdump and nm (binutils), and looks at instructions of x86-64 alone.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

NOT_CHECKED = 77  # the exit status, as in Automake
AVX512, AVX2, ABOVE_SSE2 = "AVX-512", "AVX2", "above SSE2"

# Registers that AVX-512 brought: 64-byte vectors, masks, vectors 16 to 31.
_AVX512_OPERAND = re.compile(r"%(zmm\d|k[0-7]\b|[xy]mm(1[6-9]|2\d|3[01])\b)")
# AVX and what came with it. Every AVX mnemonic begins with v, as do a few instructions that only a kernel may use.
_AVX2_MNEMONIC = re.compile(
    r"v(?!err|erw|mcall|mclear|mfunc|mlaunch|mload|mptr|mread|mresume|mrun|msave|mwrite|mxo)"
    r"|(andn|bextr|bls(i|msk|r)|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx)[lq]?$"
)
# SSE3 to SSE4.2 and the bit counts. tzcnt is not here: compilers write it for bsf, which old processors then run.
_SSE_MNEMONIC = re.compile(
    r"(addsub|h(add|sub))p[sd]$|lddqu$|mov(ddup|shdup|sldup|ntdqa)$|fisttp"
    r"|p(abs[bwd]|alignr|h(add|sub)s?[wd]|maddubsw|mulhrsw|shufb|sign[bwd])$"
    r"|p?blend|dpp[sd]$|extractps$|insertps$|mpsadbw$|packusdw$|pcmp(eqq|gtq|[ei]str[im])$|p(ext|ins)r[bdq]$|phminposuw$"
    r"|p(max|min)(sb|sd|ud|uw)$|pmov[sz]x|pmul(dq|ld)$|ptest$|round[ps][sd]$|crc32|popcnt|lzcnt|movbe|aes|pclmul|sha(1|256)"
)
_LINE = re.compile(r"^\s*[0-9a-f]+:\t(?P<instruction>.*)$")
_PREFIXES = {"lock", "rep", "repz", "repnz", "cs", "ds", "es", "ss", "fs", "gs", "data16", "addr32", "bnd", "notrack"}


def needs(instruction: str) -> str:
    """What a processor must have, beyond SSE2, to run an instruction in objdump's text, or ""."""
    words = instruction.split("#")[0].split()
    while words and (words[0] in _PREFIXES or words[0].startswith("rex")):
        words.pop(0)
    if not words:
        return ""
    mnemonic, operands = words[0], " ".join(words[1:])
    if _AVX512_OPERAND.search(operands):
        return AVX512
    if _AVX2_MNEMONIC.match(mnemonic):
        return AVX2
    return ABOVE_SSE2 if _SSE_MNEMONIC.match(mnemonic) else ""


def forbidden(module: str) -> set[str]:
    """What a module, named by its file, must not need."""
    return {"isa_avx512": set(), "isa_avx2": {AVX512}}.get(module, {AVX512, AVX2, ABOVE_SSE2})


def _lines(*command: str | Path) -> Iterator[str]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield from process.stdout
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")


def wrong_instructions(path: Path) -> list[str]:
    """Findings: how many instructions of each forbidden kind, and the first of them."""
    unwanted = forbidden(path.name.split(".")[0])
    if not unwanted:
        return []
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for line in _lines("objdump", "-d", "--no-show-raw-insn", path):
        match = _LINE.match(line)
        kind = needs(match["instruction"]) if match else ""
        if kind in unwanted:
            counts[kind] += 1
            first.setdefault(kind, line.strip())
    return [f"{path}: {count} instructions of {kind}, first {first[kind]!r}" for kind, count in counts.items()]


def wrong_symbols(path: Path) -> list[str]:
    """Findings: symbols that the module offers to others, or would take from another module of ours."""
    module = path.name.split(".")[0]
    allowed = {f"PyInit_{module}"}
    if module == "engine":
        allowed |= {"fastconv_get_num_threads", "fastconv_set_num_threads"}  # threadpoolctl calls them
    offered = {line.split()[-1] for line in _lines("nm", "-D", "--defined-only", path)}
    taken = {line.split()[-1] for line in _lines("nm", "-D", "--undefined-only", path)}
    found = [f"{path}: exports {name}" for name in sorted(offered - allowed)]
    return found + [f"{path}: takes {name} from another module" for name in sorted(taken) if "N2fc" in name]


def check(paths: Iterable[Path], instructions: bool) -> list[str]:
    """Findings about these modules."""
    found = []
    for path in paths:
        found += wrong_symbols(path)
        if instructions:
            found += wrong_instructions(path)
    return found


def is_x86(path: Path) -> bool:
    """Whether a shared object is for x86-64, by its ELF header."""
    return path.read_bytes()[18:20] == b"\x3e\x00"


def modules(folder: Path) -> list[Path]:
    """Every compiled module below a folder."""
    return sorted(folder.rglob("*.so"))


def installed() -> Path:
    """Where the kernels of the fastconv that this Python imports lie."""
    import fastconv.kernels

    return Path(fastconv.kernels.__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, nargs="?", help="folder or wheel; the installed package, if left out")
    given = parser.parse_args()
    missing = [tool for tool in ("objdump", "nm") if not shutil.which(tool)]
    if missing:
        print(f"not checked: {', '.join(missing)} is not installed (package binutils)")
        return NOT_CHECKED
    with tempfile.TemporaryDirectory() as unpacked:
        folder = given.target or installed()
        if folder.suffix == ".whl":
            zipfile.ZipFile(folder).extractall(unpacked)
            folder = Path(unpacked)
        paths = modules(folder)
        if not paths:
            print(f"no compiled module in {given.target or folder}")
            return NOT_CHECKED
        x86 = is_x86(paths[0])
        found = check(paths, x86)
    print("\n".join(found))
    looked_at = "symbols and instructions" if x86 else "symbols"
    print(f"{looked_at} of {len(paths)} modules: {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
