// The command calls prints what the system calls return that the filter concerns, as lines "call : outcome". It imports
// little, so that it is quickly built for other machines.
package main

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

func main() {
	fd, err := syscall.Open("calls.f", syscall.O_RDWR|syscall.O_CREAT, 0o644)
	if err != nil {
		os.Stdout.WriteString("open : " + err.Error() + "\n")
		os.Exit(1)
	}
	f := uintptr(fd)
	path, name := pointer("calls.f"), pointer("user.x")
	buf := make([]byte, 64)
	b := uintptr(unsafe.Pointer(&buf[0]))
	at := ^uintptr(99) // AT_FDCWD, -100
	for _, mode := range []uintptr{0o4755, 0o2755, 0o6755, 0o4000, 0o1755, 0o755, 1<<31 | 0o755} {
		text := strconv.FormatUint(uint64(mode), 8)
		for what, number := range legacyChmod {
			call(what+" "+text, number, path, mode)
		}
		call("fchmod "+text, syscall.SYS_FCHMOD, f, mode)
		call("fchmodat "+text, syscall.SYS_FCHMODAT, at, path, mode)
		call("fchmodat2 "+text, 452, at, path, mode, 0)
	}
	call("setxattr", syscall.SYS_SETXATTR, path, name, b, 1, 0)
	call("lsetxattr", syscall.SYS_LSETXATTR, path, name, b, 1, 0)
	call("fsetxattr", syscall.SYS_FSETXATTR, f, name, b, 1, 0)
	call("getxattr", syscall.SYS_GETXATTR, path, name, b, 64)
	call("lgetxattr", syscall.SYS_LGETXATTR, path, name, b, 64)
	call("fgetxattr", syscall.SYS_FGETXATTR, f, name, b, 64)
	call("listxattr", syscall.SYS_LISTXATTR, path, b, 64)
	call("llistxattr", syscall.SYS_LLISTXATTR, path, b, 64)
	call("flistxattr", syscall.SYS_FLISTXATTR, f, b, 64)
	args := struct {
		value uint64
		size  uint32
		flags uint32
	}{uint64(b), 1, 0}
	a := uintptr(unsafe.Pointer(&args))
	call("setxattrat(463)", 463, at, path, 0, name, a, 16)
	call("getxattrat(464)", 464, at, path, 0, name, a, 16)
	call("listxattrat(465)", 465, at, path, 0, b, 64)
	call("removexattrat(466)", 466, at, path, 0, name)
	params := make([]byte, 120)
	call("io_uring_setup", 425, 1, uintptr(unsafe.Pointer(&params[0])))
	call("io_uring_enter", 426, ^uintptr(0), 0, 0, 0)
	call("io_uring_register", 427, ^uintptr(0), 0, 0, 0)
}

// kept keeps what a uintptr points to.
var kept []*byte

func pointer(s string) uintptr {
	p, err := syscall.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	kept = append(kept, p)
	return uintptr(unsafe.Pointer(p))
}

var names = map[syscall.Errno]string{syscall.EPERM: "EPERM", syscall.ENOTSUP: "ENOTSUP", syscall.ENOSYS: "ENOSYS"}

// call makes a system call and prints the name and the number of its error, or "ok".
func call(what string, number uintptr, args ...uintptr) {
	var a [6]uintptr
	copy(a[:], args)
	_, _, errno := syscall.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
	outcome := "ok"
	if errno != 0 {
		outcome = names[errno] + "(" + strconv.Itoa(int(errno)) + ")"
	}
	os.Stdout.WriteString(what + " : " + outcome + "\n")
}
