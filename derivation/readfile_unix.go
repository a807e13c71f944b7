//go:build unix

package derivation

import (
	"io/fs"
	"syscall"
)

// readFile returns the contents of a file of at most [MaxFile] bytes. It reads the file into buf, and returns buf, possibly grown.
// It makes four system calls where os.ReadFile makes seven, which matters when a directory of derivations is verified.
func readFile(name string, buf []byte) (text string, _ []byte, err error) {
	fd, err := retry(func() (int, error) {
		return syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0) // so that a named pipe does not block
	})
	if err != nil {
		return "", buf, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer syscall.Close(fd)
	for n := 0; ; {
		if n == len(buf) {
			buf = append(buf, make([]byte, max(len(buf), 1<<16))...)
		}
		got, err := retry(func() (int, error) { return syscall.Read(fd, buf[n:]) })
		if err != nil {
			return "", buf, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		if got == 0 {
			return string(buf[:n]), buf, nil
		}
		if n += got; n > MaxFile {
			return "", buf, &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
		}
	}
}

// retry repeats a system call that a signal has interrupted.
func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != syscall.EINTR {
			return n, err
		}
	}
}
