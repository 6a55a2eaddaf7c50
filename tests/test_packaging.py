"""What is built for whom, and that the files which say so agree: setup.py, pyproject.toml, the workflows, MANIFEST.in."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from fastconv._version import __version__

pytest.importorskip("setuptools")
ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
AVX = ("avx2", "avx512")


def _setup():
    spec = importlib.util.spec_from_file_location("fastconv_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup = _setup()


class TestTarget:
    """setup.py's flags are for the processor that the build is for, whatever compiles."""

    @pytest.mark.parametrize(
        "platform, archflags, expected",
        [
            ("linux-x86_64", "", {"x86_64"}),
            ("linux-aarch64", "", {"aarch64"}),
            ("linux-i686", "", {"i686"}),
            ("linux-x86_64", "-arch arm64", {"x86_64"}),  # only macOS obeys ARCHFLAGS
            ("freebsd-14.1-release-amd64", "", {"x86_64"}),
            ("macosx-11.0-arm64", "", {"arm64"}),
            ("macosx-10.13-x86_64", "", {"x86_64"}),
            ("macosx-10.13-universal2", "", {"arm64", "x86_64"}),
            ("macosx-10.6-intel", "", {"i386", "x86_64"}),
            ("macosx-10.13-universal2", "-arch arm64", {"arm64"}),
            ("macosx-10.13-universal2", "-arch x86_64", {"x86_64"}),
            ("macosx-10.13-x86_64", "-arch arm64", {"arm64"}),  # cross compilation
            ("macosx-11.0-arm64", "-arch x86_64 -arch arm64", {"arm64", "x86_64"}),
            ("macosx-11.0-arm64", "-g -arch", {"arm64"}),
            ("win-amd64", "", {"x86_64"}),
            ("win-arm64", "", {"arm64"}),
        ],
    )
    def test_processors(self, platform, archflags, expected):
        assert setup.processors(platform, archflags) == expected

    @pytest.mark.parametrize("platform", ["linux-x86_64", "macosx-10.13-x86_64", "freebsd-14.1-release-amd64"])
    def test_x86_alone_takes_the_flags_as_they_are(self, platform):
        flags = setup.isa_flags(platform)
        assert list(flags) == ["baseline", *AVX]
        assert flags["baseline"] == ["-O2"]
        assert "-mavx2" in flags["avx2"] and "-mavx512f" not in flags["avx2"]
        assert {"-mavx2", "-mavx512f"} <= set(flags["avx512"])

    @pytest.mark.parametrize(
        "platform, archflags",
        [("linux-aarch64", ""), ("macosx-11.0-arm64", ""), ("macosx-10.13-universal2", "-arch arm64"),
         ("macosx-10.13-x86_64", "-arch arm64"), ("linux-riscv64", ""), ("linux-i686", "")],
    )  # fmt: skip
    def test_others_have_the_baseline_alone(self, platform, archflags):
        assert setup.isa_flags(platform, archflags) == {"baseline": []}

    @pytest.mark.parametrize("archflags", ["", "-arch x86_64 -arch arm64"])
    def test_for_two_processors_every_flag_names_its_own(self, archflags):
        flags = setup.isa_flags("macosx-10.13-universal2", archflags)
        for isa in ("baseline", *AVX):
            assert flags[isa][::2] == ["-Xarch_x86_64"] * len(setup.X86_ISAS[isa])
            assert flags[isa][1::2] == setup.X86_ISAS[isa]

    @pytest.mark.parametrize("platform", ["win-amd64", "win-arm64", "win32", "mingw_x86_64_ucrt"])
    def test_nothing_is_compiled_on_windows(self, platform):
        assert setup.isa_flags(platform) == {}


def extensions(**environment):
    """(names, flags) of the extensions that setup.py would build, in an environment."""
    code = (
        "import importlib.util as u; s = u.spec_from_file_location('s', 'setup.py'); m = u.module_from_spec(s)\n"
        "s.loader.exec_module(m)\n"
        "for e in m.extensions(): print(e.name, *e.extra_compile_args, '|', *e.extra_link_args)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith("fastconv.kernels."))


class TestExtensions:
    def test_a_cross_compilation_obeys_the_target(self):
        built = extensions(_PYTHON_HOST_PLATFORM="linux-aarch64")
        assert "fastconv.kernels.conv2d.isa_baseline" in built
        assert not any(name.endswith(AVX) for name in built)
        assert "-mavx" not in " ".join(built.values())

    def test_modules_for_the_baseline_have_no_flags_above_it(self):
        built = extensions(_PYTHON_HOST_PLATFORM="linux-x86_64")
        assert "-mavx512f" in built["fastconv.kernels.conv2d.isa_avx512"]
        for name, flags in built.items():
            assert name.endswith(AVX) or "-mavx" not in flags

    def test_windows_has_none(self):
        assert extensions(_PYTHON_HOST_PLATFORM="win-amd64") == {}

    def test_one_instruction_set(self):
        built = extensions(
            _PYTHON_HOST_PLATFORM="linux-x86_64", FASTCONV_BUILD_ISA="avx2", FASTCONV_BUILD_ONLY="pool2d"
        )
        assert {name.rsplit(".")[-1] for name in built if ".pool2d." in name} == {"cy", "isa_avx2"}
        assert not any(".conv2d." in name for name in built)

    @pytest.mark.parametrize(
        "environment, message",
        [
            ({"FASTCONV_BUILD_ISA": "avx9"}, r"FASTCONV_BUILD_ISA names \['avx9'\]; known here: baseline"),
            ({"FASTCONV_BUILD_ONLY": "pool3d"}, r"FASTCONV_BUILD_ONLY names \['pool3d'\]"),
        ],
    )
    def test_unknown_names(self, monkeypatch, environment, message):
        monkeypatch.chdir(ROOT)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit, match=message):
            list(setup.extensions())

    def test_modules_show_their_init_function_alone(self):
        linux, mac = (setup.build_flags(platform)[1] for platform in ("linux-x86_64", "macosx-11.0-arm64"))
        assert "-Wl,--version-script=src/kernels/_cpu/exports.map" in linux
        assert "-Wl,-exported_symbol,_PyInit_*" in mac

    def test_sanitizers(self, monkeypatch):
        monkeypatch.setenv("FASTCONV_SANITIZE", "address,undefined")
        compiler, linker = setup.build_flags("linux-x86_64")
        assert {"-fsanitize=address,undefined", "-fno-wrapv", "-O1"} <= set(compiler)
        assert "-fsanitize=address,undefined" in linker and "-Wl,-s" not in linker


def _pythons(text, pattern):
    """The minor versions that a pattern finds, in order."""
    return sorted({int(minor) for minor in re.findall(pattern, text)})


class TestMetadata:
    CI = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    RELEASE = (ROOT / ".github" / "workflows" / "release.yml").read_text()

    def test_python_versions_agree(self):
        classified = _pythons(" ".join(PROJECT["project"]["classifiers"]), r"Python :: 3\.(\d+)")
        assert classified == list(range(classified[0], classified[-1] + 1))
        oldest = f"3.{classified[0]}"
        assert PROJECT["project"]["requires-python"] == f">={oldest}"
        assert PROJECT["tool"]["mypy"]["python_version"] == oldest
        assert PROJECT["tool"]["ruff"]["target-version"] == f"py3{classified[0]}"
        assert _pythons(" ".join(PROJECT["tool"]["cibuildwheel"]["build"]), r"cp3(\d+)-\*") == classified
        assert _pythons(self.CI, r'"3\.(\d+)"') == classified

    def test_the_newest_entry_of_the_changelog_is_this_version(self):
        newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
        assert newest and newest[1] == __version__

    def test_a_release_is_tested_and_published_without_a_password(self):
        assert "secrets." not in self.RELEASE and "password" not in self.RELEASE.replace("there is no password", "")
        publish = self.RELEASE[self.RELEASE.index("\n  publish:") :]
        assert "id-token: write" in publish and self.RELEASE.count("id-token: write") == 1
        assert "needs: [sdist, wheels]" in publish
        assert "twine check --strict" in self.RELEASE and "tools/smoke.py" in self.RELEASE
        assert "tools/smoke.py" in PROJECT["tool"]["cibuildwheel"]["test-command"]

    @pytest.mark.parametrize("workflow", ["ci.yml", "release.yml"])
    def test_every_file_that_a_workflow_names_exists(self, workflow):
        text = (ROOT / ".github" / "workflows" / workflow).read_text()
        named = set(re.findall(r"(?<![\w/])((?:tools|fastconv)/[\w/]+\.py|\.ci/run)", text))
        assert named
        assert not [name for name in named if not (ROOT / name).exists()]

    def test_wheels_are_for_what_the_readme_promises(self):
        linux = PROJECT["tool"]["cibuildwheel"]["linux"]
        assert linux["archs"] == ["x86_64", "aarch64"]
        assert {linux[f"manylinux-{arch}-image"] for arch in linux["archs"]} == {"manylinux_2_28"}
        assert PROJECT["tool"]["cibuildwheel"]["macos"]["archs"] == ["x86_64", "arm64"]


def test_the_sdist_has_every_source_of_the_kernels():
    manifest = (ROOT / "MANIFEST.in").read_text()
    patterns = re.search(r"^recursive-include src/kernels (.*)$", manifest, re.M)[1].split()
    made = {".so", ".pyc", ".nbi", ".nbc", ".pyd", ".dylib"}
    sources = [p for p in (ROOT / "src" / "kernels").rglob("*") if p.is_file() and p.suffix not in {*made, ".py"}]
    assert sources
    assert not [p for p in sources if not any(fnmatch(p.name, pattern) for pattern in patterns)]
