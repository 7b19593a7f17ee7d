#!/usr/bin/env python3
"""What annulus says about GPUs: on this machine, whatever it has, and on those that a plugin without CUDA makes up
(tests/support/fake_device_plugin.cpp). And that a run on CPUs has nothing to do with CUDA."""
import ctypes
import os
import pathlib
import re
import shutil

import annulus_runner as annulus
from attention_reference import random_problem, write_problem

PLUGIN = os.environ.get("ANNULUS_CUDA_PLUGIN")  # where this build has one (tests/CMakeLists.txt)
FAKE = os.environ.get("ANNULUS_FAKE_PLUGIN", annulus.ROOT / "build/dev/tests/libfake_device_plugin.so")
CUDA_LIBRARIES = re.compile(r"lib(annulus_)?cuda|libcublas|libnccl")


def has_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


# Machine: what is said of it, and what would help. None: there is nothing to mend.
MACHINES = {
    "no driver": ("this machine has no NVIDIA driver", "install one for CUDA 13.0 or newer"),
    "old driver": ("the NVIDIA driver is too old: it is for CUDA 12.4, and the plugin for 13.0", "update the driver"),
    "no device": ("there is an NVIDIA driver, for CUDA 13.0, but it shows no GPU", "CUDA_VISIBLE_DEVICES"),
    "sick driver": ("the NVIDIA driver, for CUDA 13.0, fails: fake error 802", "nvidia-smi"),
    "old devices": ("2 GPUs, driver for CUDA 13.0", "it takes one of compute capability 8.0 or newer"),
    "another version": ("is the plugin of another version of annulus: its interface is 3 of", "built with this program"),
    "another size": ("is the plugin of another version of annulus: its interface is 2 of 8 bytes", "built with this program"),
    "sick device": ("2 GPUs, driver for CUDA 13.0", None),
    "two devices": ("2 GPUs, driver for CUDA 13.0", None),
}


class Machines(annulus.TestCase):
    def version(self, *options, env=None, program=None):
        result = annulus.run_command([program or annulus.program, *options, "--version"], env)
        self.assertDone(result)
        return result.out

    def test_every_machine(self):
        run = annulus.TinyRun(self.directory / "machines")
        for machine, (found, mend) in MACHINES.items():
            with self.subTest(machine):
                env = {"ANNULUS_FAKE_MACHINE": machine}
                page = self.version(f"--cuda-plugin={FAKE}", env=env)
                result = annulus.run([*run.arguments(), "--device=cuda", f"--cuda-plugin={FAKE}"], env=env, cwd=run.directory)
                for text in filter(None, (found, mend)):
                    self.assertIn(text, page)
                says = (found, mend, "use --device=cpu") if mend else ("device cuda (--device) is not supported", "use cpu")
                self.assertFails(result, 64, *says)
        self.assertFalse(run.path.exists())

    def test_devices_are_listed(self):
        page = self.version(f"--cuda-plugin={FAKE}", env={"ANNULUS_FAKE_MACHINE": "sick device"})
        self.assertIn("CUDA: plugin with fake CUDA, for compute capabilities 80; 2 GPUs, driver for CUDA 13.0\n"
                      "GPU 0: Fake H100, 81920 MiB, compute capability 9.0\nGPU 1: fake error 46\n", page)
        page = self.version(f"--cuda-plugin={FAKE}", env={"ANNULUS_FAKE_MACHINE": "old devices"})
        self.assertIn("GPU 1: Fake V100, 81920 MiB, compute capability 7.0, too old\n", page)

    def test_every_rank_returns_it(self):
        source = write_problem(self.directory / "in.h5", random_problem(1))
        words = ["attention", source, "out.h5", "--device=cuda", f"--cuda-plugin={FAKE}"]
        env = {"ANNULUS_FAKE_MACHINE": "no driver"}
        for result in (annulus.run(words, 3, env=env, cwd=self.directory),
                       annulus.run([*words, "--in-process-ranks=3"], env=env, cwd=self.directory)):
            self.assertFails(result, 64, "this machine has no NVIDIA driver", "use --device=cpu")
        self.assertFalse((self.directory / "out.h5").exists())

    def test_what_is_no_plugin(self):
        text, folder, pipe = (self.directory / name for name in ("text.so", "folder", "pipe"))
        text.write_text("no library")
        folder.mkdir()
        os.mkfifo(pipe)
        libc = next(line.split()[-1] for line in pathlib.Path("/proc/self/maps").read_text().splitlines() if "libc.so" in line)
        of_this_build = "libannulus_cuda.so that was built with this program"
        for path, says in {
                text: ("the plugin cannot be loaded", "text.so", of_this_build),
                folder: (f"{folder} is no file", "give the path of libannulus_cuda.so"),
                pipe: (f"{pipe} is no file", "give the path of libannulus_cuda.so"),
                self.directory / "none.so": (f"there is no file {self.directory}/none.so", "give the path"),
                libc: (f"{libc} is a library, but no plugin of annulus", of_this_build)}.items():
            with self.subTest(str(path)):
                for text in says:
                    self.assertIn(text, self.version(f"--cuda-plugin={path}"))
                self.assertFails(annulus.run(["train", "any.toml", "--device=cuda", f"--cuda-plugin={path}"]), 64, *says)

    def test_no_plugin_beside_the_program(self):
        alone = pathlib.Path(shutil.copy2(annulus.program, self.directory / "annulus"))
        says = (f"this build has no CUDA plugin ({self.directory}/libannulus_cuda.so)", "cmake --preset cuda",
                "--cuda-plugin=PATH")
        page = self.version(program=alone)
        for text in says:
            self.assertIn(text, page)
        self.assertFails(annulus.run_command([alone, "train", "any.toml", "--device=cuda"]), 64, *says)
        # There, it is found, and through a link to the program as well.
        shutil.copy2(FAKE, self.directory / "libannulus_cuda.so")
        (self.directory / "elsewhere").mkdir()
        link = self.directory / "elsewhere" / "link"
        link.symlink_to(alone)
        for program in (alone, link):
            self.assertIn("GPU 1: Fake H100", self.version(program=program))

    def test_a_plugin_for_the_cpu_is_refused(self):
        for words in (["train", "any.toml"], ["attention", "in.h5", "out.h5"]):
            self.assertFails(annulus.run([*words, f"--cuda-plugin={FAKE}"]), 64, "--cuda-plugin", "cpu", "--device=cuda")
        self.assertFails(annulus.run([f"--cuda-plugin={FAKE}", "train", "any.toml"]), 64, "--cuda-plugin", "--version")

    def test_a_run_on_cpus_opens_no_cuda_library(self):
        """By the word of the dynamic loader, which tells of every library it opens."""
        def opened(command, cwd=None):
            result = annulus.run_command(command, {"LD_DEBUG": "files", "ANNULUS_FAKE_MACHINE": "no driver"}, cwd)
            return result.code, set(re.findall(r"file=(\S+)", result.err))
        run = annulus.TinyRun(self.directory / "cpu", {"train.steps": 2})
        code, libraries = opened([annulus.program, *run.arguments()], run.directory)
        self.assertEqual(code, 0)
        self.assertTrue(any("libhdf5" in name for name in libraries), libraries)
        self.assertEqual([name for name in libraries if CUDA_LIBRARIES.search(name)], [])
        code, libraries = opened([annulus.program, "train", "any.toml", "--device=cuda", f"--cuda-plugin={FAKE}"])
        self.assertEqual(code, 64)
        self.assertIn(str(FAKE), libraries)  # this is what it looks like


class ThisBuild(annulus.TestCase):
    """The plugin itself, where the CUDA toolkit was there to build it."""

    def setUp(self):
        if not PLUGIN:
            self.skipTest("this build has no CUDA backend")

    def test_what_it_says_here(self):
        page = annulus.run(["--version"])
        self.assertDone(page)
        self.assertRegex(page.out, r"CUDA: plugin with CUDA 1\d\.\d+, cuBLAS 1\d\.\d+\.\d+, NCCL 2\.\d+\.\d+, for compute "
                                   r"capabilities 80, 90a; ")
        result = annulus.run(["train", "any.toml", "--device=cuda"], 2)
        if has_driver():
            self.assertFails(result, 64, "device cuda (--device)", "cpu")
        else:
            self.assertIn("this machine has no NVIDIA driver (libcuda.so.1 is not found); install one for CUDA 1", page.out)
            self.assertFails(result, 64, "this machine has no NVIDIA driver", "install one", "use --device=cpu")

    def test_an_installed_program_finds_it(self):
        prefix = self.directory / "prefix"
        self.assertDone(annulus.run_command(["cmake", "--install", annulus.program.parent, "--prefix", prefix]))
        page = annulus.run_command([prefix / "bin" / "annulus", "--version"])
        self.assertDone(page)
        self.assertIn("CUDA: plugin with CUDA", page.out)

    def test_what_it_is_linked_with(self):
        """Never the driver: it would not even load without one. And the program with nothing of CUDA."""
        libraries = annulus.run_command(["ldd", PLUGIN]).out
        for name in ("libcudart.so", "libcublas.so", "libnccl.so"):
            self.assertIn(name, libraries)
        self.assertNotRegex(libraries, r"libcuda\.so|not found")
        self.assertNotRegex(annulus.run_command(["ldd", annulus.program]).out, CUDA_LIBRARIES)


if __name__ == "__main__":
    annulus.main()
