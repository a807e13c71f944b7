package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// calls prints what the system calls say that the filter concerns.
func calls([]string) {
	for _, line := range callOutcomes() {
		fmt.Println(line)
	}
}

// callOutcomes returns lines "call : outcome".
func callOutcomes() (lines []string) {
	call := func(what string, number uintptr, args ...uintptr) {
		lines = append(lines, what+" : "+outcome(number, args...))
	}
	if err := os.WriteFile("probe.f", []byte("x"), 0o644); err != nil {
		report("create", err)
		return
	}
	f, err := os.OpenFile("probe.f", os.O_RDWR, 0)
	if err != nil {
		report("open", err)
		return
	}
	fd := f.Fd()
	path, name := pointer("probe.f"), pointer("user.x")
	buf := make([]byte, 64)
	b := uintptr(unsafe.Pointer(&buf[0]))
	at := -100 // AT_FDCWD
	for _, mode := range []uintptr{0o4755, 0o2755, 0o6755, 0o4000, 0o1755, 0o755, 1<<31 | 0o755} {
		for what, number := range legacyChmod {
			call(fmt.Sprintf("%s %o", what, mode), number, path, mode)
		}
		call(fmt.Sprintf("fchmod %o", mode), unix.SYS_FCHMOD, fd, mode)
		call(fmt.Sprintf("fchmodat %o", mode), unix.SYS_FCHMODAT, uintptr(at), path, mode)
		call(fmt.Sprintf("fchmodat2 %o", mode), 452, uintptr(at), path, mode, 0)
	}
	call("setxattr", unix.SYS_SETXATTR, path, name, b, 1, 0)
	call("lsetxattr", unix.SYS_LSETXATTR, path, name, b, 1, 0)
	call("fsetxattr", unix.SYS_FSETXATTR, fd, name, b, 1, 0)
	call("getxattr", unix.SYS_GETXATTR, path, name, b, 64)
	call("lgetxattr", unix.SYS_LGETXATTR, path, name, b, 64)
	call("fgetxattr", unix.SYS_FGETXATTR, fd, name, b, 64)
	call("listxattr", unix.SYS_LISTXATTR, path, b, 64)
	call("llistxattr", unix.SYS_LLISTXATTR, path, b, 64)
	call("flistxattr", unix.SYS_FLISTXATTR, fd, b, 64)
	args := struct {
		value uint64
		size  uint32
		flags uint32
	}{uint64(b), 1, 0}
	a := uintptr(unsafe.Pointer(&args))
	call("setxattrat(463)", 463, uintptr(at), path, 0, name, a, 16)
	call("getxattrat(464)", 464, uintptr(at), path, 0, name, a, 16)
	call("listxattrat(465)", 465, uintptr(at), path, 0, b, 64)
	call("removexattrat(466)", 466, uintptr(at), path, 0, name)
	params := make([]byte, 120)
	call("io_uring_setup", 425, 1, uintptr(unsafe.Pointer(&params[0])))
	call("io_uring_enter", 426, ^uintptr(0), 0, 0, 0)
	call("io_uring_register", 427, ^uintptr(0), 0, 0, 0)
	return lines
}

// kept keeps what a uintptr points to.
var kept []*byte

func pointer(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	kept = append(kept, p)
	return uintptr(unsafe.Pointer(p))
}

// outcome makes a system call and returns the name and the number of its error, or "ok".
func outcome(number uintptr, args ...uintptr) string {
	var a [6]uintptr
	copy(a[:], args)
	_, _, errno := syscall.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	if errno == 0 {
		return "ok"
	}
	return fmt.Sprintf("%s(%d)", unix.ErrnoName(errno), int(errno))
}
