package sandbox

import (
	"debug/elf"
	"fmt"
	"path/filepath"
	"runtime"
)

// shells are the files of static shells on various systems, in the order of preference.
var shells = []string{
	"/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox", "/sbin/busybox",
	"/bin/busybox.static", "/usr/bin/busybox.static", "/usr/lib/busybox/busybox-static",
	"/bin/bash-static", "/usr/bin/bash-static", "/bin/bash.static",
	"/bin/sash", "/usr/bin/dash.static", "/bin/sh.static", "/bin/sh",
}

// ownShell is the name of pix's own shell.
const ownShell = "pix-sh"

// FindShell returns a program of this machine that can be /bin/sh in a sandbox, or "". It is a busybox or a shell without
// shared libraries, since the sandbox does not have the libraries of the machine, or else the pix-sh in the directory of
// this program.
func FindShell() string {
	for _, file := range shells {
		if CheckStatic(file) == nil {
			return file
		}
	}
	if file := beside(ownShell); file != "" && CheckStatic(file) == nil {
		return file
	}
	return ""
}

// IsOwnShell reports whether a file that FindShell has returned is pix-sh, which lacks some abilities of other shells.
func IsOwnShell(file string) bool { return filepath.Base(file) == ownShell }

// machines are the ELF machines by GOARCH.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "386": elf.EM_386, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM, "riscv64": elf.EM_RISCV,
	"ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "loong64": elf.EM_LOONGARCH,
}

// CheckStatic returns an error if a file is not a program for this machine, or needs a loader and shared libraries,
// which a sandbox does not have.
func CheckStatic(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("%s is not a program that runs by itself: %w", file, err)
	}
	defer f.Close()
	if f.Machine != machines[runtime.GOARCH] {
		return fmt.Errorf("%s is a program for another machine (%v)", file, f.Machine)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return fmt.Errorf("%s is not a program (%v)", file, f.Type)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs shared libraries, which are not in the sandbox: use a static program (in Go, one built with CGO_ENABLED=0)", file)
		}
	}
	return nil
}
