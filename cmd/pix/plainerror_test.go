package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// Errors of the standard library are printed without Go terms and names of system calls.
func TestErrorText(t *testing.T) {
	_, lstat := os.Lstat("/nowhere/file")
	_, open := os.Open("/nowhere/file")
	link := os.Link("/nowhere/a", "/nowhere/b")
	_, look := exec.LookPath("there-is-no-such-program")
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	host := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "nowhere.invalid", Server: "192.0.2.1:53", IsNotFound: true}}
	for _, c := range []struct {
		err  error
		want string
	}{
		{lstat, "reading '/nowhere/file': no such file or directory"},
		{open, "opening '/nowhere/file': no such file or directory"},
		{link, "linking '/nowhere/a' as '/nowhere/b': no such file or directory"},
		{look, "the program 'there-is-no-such-program' is not in PATH"},
		{&fs.PathError{Op: "openat", Path: "x", Err: os.NewSyscallError("openat", syscall.EACCES)}, "opening 'x': permission denied"},
		{&fs.PathError{Op: "set the time of", Path: "x", Err: syscall.EACCES}, "setting the time of 'x': permission denied"},
		{fmt.Errorf("unable to download 'http://x': %w (tried 5 times)", refused), "unable to download 'http://x': connecting to 127.0.0.1:1: connection refused (tried 5 times)"},
		{host, "host 'nowhere.invalid' not found"},
		{fmt.Errorf("asking: %w", context.DeadlineExceeded), "asking: timeout"},
		{errors.Join(fmt.Errorf("a: %w", lstat), errors.New("b")), "a: reading '/nowhere/file': no such file or directory\nb"},
		{errors.New("lstat is a system call"), "lstat is a system call"},
	} {
		if got := errorText(c.err); got != c.want {
			t.Errorf("errorText(%v) = %q, want %q", c.err, got, c.want)
		}
	}
}
