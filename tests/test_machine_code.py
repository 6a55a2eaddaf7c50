"""The compiled modules need no more of a processor than they may, and the tools that say so would notice if they did."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastconv import _threads, ops

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import check_isa
import sanitize
import smoke

binutils = pytest.mark.skipif(not (shutil.which("objdump") and shutil.which("nm")), reason="needs binutils")


@pytest.mark.parametrize(
    "instruction, expected",
    [
        ("movaps %xmm0,(%rax)", ""),
        ("mulps  %xmm1,%xmm15", ""),
        ("cvttps2dq %xmm0,%xmm1", ""),
        ("pmaxub %xmm0,%xmm1", ""),
        ("pextrw $0x0,%xmm0,%eax", ""),
        ("pinsrw $0x0,%eax,%xmm0", ""),
        ("pmuludq %xmm0,%xmm1", ""),
        ("verr   %ax", ""),
        ("repz tzcnt %rax,%rax", ""),  # bsf, where it is not known
        ("cs nopw 0x0(%rax,%rax,1)", ""),
        ("lea    0x10(%rax),%rdx        # 1234 <vector>", ""),
        ("haddps %xmm0,%xmm0", check_isa.ABOVE_SSE2),
        ("pshufb %xmm0,%xmm0", check_isa.ABOVE_SSE2),
        ("pmulld %xmm0,%xmm0", check_isa.ABOVE_SSE2),
        ("pmaxsd %xmm0,%xmm0", check_isa.ABOVE_SSE2),
        ("blendvps %xmm0,%xmm1,%xmm2", check_isa.ABOVE_SSE2),
        ("roundss $0x9,%xmm0,%xmm0", check_isa.ABOVE_SSE2),
        ("pextrq $0x1,%xmm0,%rax", check_isa.ABOVE_SSE2),
        ("popcnt %rax,%rax", check_isa.ABOVE_SSE2),
        ("repz lzcnt %rax,%rax", check_isa.ABOVE_SSE2),
        ("vaddps %xmm0,%xmm1,%xmm2", check_isa.AVX2),
        ("vfmadd231ps (%rax),%ymm1,%ymm2", check_isa.AVX2),
        ("vzeroupper", check_isa.AVX2),
        ("shlx   %rax,%rbx,%rcx", check_isa.AVX2),
        ("vaddps %zmm0,%zmm1,%zmm2", check_isa.AVX512),
        ("vaddps %ymm0,%ymm16,%ymm2", check_isa.AVX512),
        ("vmovups (%rax),%ymm2{%k1}{z}", check_isa.AVX512),
        ("kmovw  %eax,%k1", check_isa.AVX512),
        ("", ""),
    ],
)
def test_what_an_instruction_needs(instruction, expected):
    assert check_isa.needs(instruction) == expected


@pytest.mark.parametrize(
    "module, forbidden",
    [
        ("cy", {check_isa.ABOVE_SSE2, check_isa.AVX2, check_isa.AVX512}),
        ("isa_baseline", {check_isa.ABOVE_SSE2, check_isa.AVX2, check_isa.AVX512}),
        ("isa_avx2", {check_isa.AVX512}),
        ("isa_avx512", set()),
    ],
)
def test_what_a_module_must_not_need(module, forbidden):
    assert check_isa.forbidden(module) == forbidden


@binutils
@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
class TestModules:
    @pytest.mark.slow
    def test_nothing_is_wrong_in_those_installed(self):
        paths = check_isa.modules(check_isa.installed())
        assert paths
        assert check_isa.check(paths, check_isa.is_x86(paths[0])) == []

    @pytest.fixture
    def compile(self, tmp_path):
        compiler = shutil.which("c++")
        if not compiler:
            pytest.skip("no C++ compiler")

        def compile(module, source, *flags):
            path = tmp_path / f"{module}.so"
            command = [compiler, "-x", "c++", "-", "-shared", "-fPIC", "-O2", "-o", str(path), *flags]
            subprocess.run(command, input=source, text=True, check=True)
            return path

        return compile

    @pytest.mark.skipif("avx2" not in _threads.engine.supported_isas(), reason="needs a compiler for AVX2")
    def test_vectors_of_avx2_in_a_module_for_all(self, compile):
        source = 'extern "C" void PyInit_isa_baseline(float* x) { for (int i = 0; i < 64; ++i) x[i] *= 3; }'
        found = check_isa.wrong_instructions(compile("isa_baseline", source, "-O3", "-mavx2"))
        assert len(found) == 1 and "instructions of AVX2" in found[0]

    def test_a_function_of_a_standard_header(self, compile):
        source = (
            "#include <vector>\n"
            'extern "C" int PyInit_cy(int n) { std::vector<int> v; while (n) v.push_back(n--); return v[0]; }'
        )
        found = check_isa.wrong_symbols(compile("cy", source, "-fvisibility=hidden"))
        assert found and all("exports _ZN" in line for line in found)


class TestSmoke:
    def test_every_operation_is_called(self):
        layouts = {"im2col in columns", "col2im of columns"}  # two operations once more, in another layout
        assert set(smoke.operations(np.float32)) == {*ops.__all__, *layouts}

    def test_all_is_right_here(self, capsys):
        assert smoke.run_here(_threads.isa()) == 0
        assert "all right" in capsys.readouterr().out

    def test_another_instruction_set_is_noticed(self, capsys):
        assert smoke.run_here("sse9") == 1
        assert "expected sse9" in capsys.readouterr().out

    def test_a_wrong_result_is_noticed(self, capsys, monkeypatch):
        monkeypatch.setattr(smoke, "shapes", lambda: [("random", lambda: np.random.default_rng().random(3))])
        assert smoke.run_here(None) == 1
        assert "random" in capsys.readouterr().out


def test_findings_of_sanitizers_are_counted_by_place(tmp_path):
    (tmp_path / "address.1").write_text(
        "==12==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x12\n#0 0x1 in f\n"
    )
    (tmp_path / "undefined.1").write_text(
        "a.h:3:5: runtime error: load of 0x10\n" * 2 + "a.h:9:5: runtime error: shift\n"
    )
    (tmp_path / "undefined.2").write_text("a.h:3:5: runtime error: load of 0x20\n")
    assert len(sanitize.findings(tmp_path)) == 3
