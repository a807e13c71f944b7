package nar

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"sync"
	"syscall"
)

// Most trees consist of thousands of small files. For each of them os.File costs as much
// time as reading it does, so this file calls the kernel directly.

// direntPool holds buffers for getdents.
var direntPool = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (f *rootFolder) list(l *nameList) error {
	buf := direntPool.Get().(*[64 << 10]byte)
	defer direntPool.Put(buf)
	for {
		n, err := retry(func() (int, error) { return syscall.ReadDirent(int(f.self.Fd()), buf[:]) })
		if err != nil {
			return os.NewSyscallError("getdents", err)
		}
		if n <= 0 {
			return nil
		}
		if err := f.addDirents(l, buf[:n]); err != nil {
			return err
		}
	}
}

// addDirents adds the names in b. b contains entries of struct linux_dirent64: an inode and
// an offset of 8 bytes each, the length of the entry in 2, a type in 1, and a name that
// ends with NUL.
func (f *rootFolder) addDirents(l *nameList, b []byte) error {
	const lengthAt, typeAt, nameAt = 16, 18, 19
	for len(b) >= nameAt {
		length := int(binary.NativeEndian.Uint16(b[lengthAt:]))
		if length < nameAt || length > len(b) {
			return os.NewSyscallError("getdents", syscall.EIO)
		}
		name, _, _ := bytes.Cut(b[nameAt:length], []byte{0})
		if string(name) != "." && string(name) != ".." {
			kind, err := f.direntKind(b[typeAt], name)
			if err == nil {
				err = l.add(name, kind)
			}
			if err != nil {
				return err
			}
		}
		b = b[length:]
	}
	return nil
}

func (f *rootFolder) direntKind(typ byte, name []byte) (Kind, error) {
	switch typ {
	case syscall.DT_REG:
		return Regular, nil
	case syscall.DT_DIR:
		return Directory, nil
	case syscall.DT_LNK:
		return Symlink, nil
	case syscall.DT_UNKNOWN: // some file systems do not report the type
		return f.statKind(string(name))
	}
	return 0, nil
}

func (f *rootFolder) openFile(name string) (openedFile, error) {
	// O_NONBLOCK, because opening a pipe that has replaced the file would block.
	const flags = syscall.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC
	fd, err := retry(func() (int, error) { return syscall.Openat(int(f.self.Fd()), name, flags, 0) })
	if err != nil {
		return openedFile{}, os.NewSyscallError("openat", err)
	}
	var st syscall.Stat_t
	_, err = retry(func() (int, error) { return 0, syscall.Fstat(fd, &st) })
	if err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		err = ErrFileChanged
	}
	if err != nil {
		syscall.Close(fd)
		return openedFile{}, err
	}
	file := rawFile(fd)
	return openedFile{file, file, uint64(st.Size), st.Mode&syscall.S_IXUSR != 0, true}, nil
}

// A rawFile is the descriptor of a regular file.
type rawFile int

func (f rawFile) Read(p []byte) (int, error) {
	n, err := retry(func() (int, error) { return syscall.Read(int(f), p) })
	if err != nil {
		return 0, os.NewSyscallError("read", err)
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (f rawFile) ReadAt(p []byte, offset int64) (total int, err error) {
	for total < len(p) {
		n, err := retry(func() (int, error) { return syscall.Pread(int(f), p[total:], offset+int64(total)) })
		if err != nil {
			return total, os.NewSyscallError("pread", err)
		}
		if n == 0 {
			return total, io.EOF
		}
		total += n
	}
	return total, nil
}

func (f rawFile) Fd() uintptr { return uintptr(f) }

func (f rawFile) Close() error { return syscall.Close(int(f)) }

// retry calls a system call again while signals interrupt it.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}
