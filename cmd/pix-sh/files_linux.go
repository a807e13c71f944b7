package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"mvdan.cc/sh/v3/interp"
)

const (
	sourcePrefix = "/\x01pix-source/" // names of scripts that the builtin . reads
	copyPrefix   = "/\x01pix-copy/"   // names of descriptors that a redirection copies

	// maxInherited is the highest descriptor that a shell looks for when it starts. Commands inherit higher ones too, and
	// redirections cannot use them.
	maxInherited = 255
)

// A savedFile is a descriptor before a redirection. f is nil if it was closed.
type savedFile struct {
	number int
	f      *os.File
}

// inheritedFiles returns the open descriptors from 3 on. The descriptors of the Go runtime close on exec, and others do not.
func inheritedFiles() map[int]*os.File {
	files := map[int]*os.File{}
	for fd := 3; fd <= maxInherited; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.CloseOnExec(fd)
			files[fd] = os.NewFile(uintptr(fd), strconv.Itoa(fd))
		}
	}
	return files
}

// namedFiles returns the descriptors with these numbers.
func namedFiles(numbers []string) map[int]*os.File {
	files := map[int]*os.File{}
	for _, number := range numbers {
		if n, err := strconv.Atoi(number); err == nil && n >= 3 {
			unix.CloseOnExec(n)
			files[n] = os.NewFile(uintptr(n), number)
		}
	}
	return files
}

// open opens a file for a redirection. New files have the mode 0666 minus the umask.
func (s *shell) open(ctx context.Context, path string, flag int, _ os.FileMode) (io.ReadWriteCloser, error) {
	hc := interp.HandlerCtx(ctx)
	if text, ok := s.sources[path]; ok {
		delete(s.sources, path)
		return &textFile{strings.NewReader(text)}, nil
	}
	if number, ok := strings.CutPrefix(path, copyPrefix); ok {
		f, err := s.duplicate(hc, number)
		if err != nil {
			return nil, &fs.PathError{Op: "copy", Path: number, Err: err}
		}
		return f, nil
	}
	return s.openFile(hc, path, flag)
}

func (s *shell) openFile(hc interp.HandlerContext, path string, flag int) (*os.File, error) {
	if path != "" && !filepath.IsAbs(path) {
		path = filepath.Join(hc.Dir, path)
	}
	f, err := os.OpenFile(path, flag, 0o666)
	if err != nil {
		return nil, err
	}
	if stat, err := f.Stat(); err == nil && stat.Mode()&fs.ModeNamedPipe != 0 {
		s.isPipe[f] = true
	}
	return f, nil
}

// A textFile is a script that the builtin . reads.
type textFile struct{ *strings.Reader }

func (*textFile) Write([]byte) (int, error) { return 0, fs.ErrInvalid }
func (*textFile) Close() error              { return nil }

// file returns the file behind a standard descriptor of a command, or nil if it is closed.
func file(stream any) *os.File {
	f, _ := stream.(*os.File)
	return f
}

// duplicate returns a copy of a descriptor.
func (s *shell) duplicate(hc interp.HandlerContext, number string) (*os.File, error) {
	if number == "-" {
		return os.OpenFile(os.DevNull, os.O_RDWR, 0)
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return nil, unix.EBADF
	}
	var f *os.File
	switch n {
	case 0:
		f = file(hc.Stdin)
	case 1:
		f = file(hc.Stdout)
	case 2:
		f = file(hc.Stderr)
	default:
		f = s.fds[n]
	}
	if f == nil {
		return nil, unix.EBADF
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 10)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// openNumber does a redirection of a descriptor from 3 on: its number, the operator and the word. If save, restore reverts it.
func (s *shell) openNumber(ctx context.Context, args []string, save bool) error {
	hc := interp.HandlerCtx(ctx)
	n, err := strconv.Atoi(args[0])
	if err != nil || n > maxInherited {
		fmt.Fprintf(hc.Stderr, "%s: %s: bad descriptor\n", s.name, args[0])
		return interp.ExitStatus(2)
	}
	old := s.fds[n]
	if save {
		s.saved = append(s.saved, savedFile{n, old})
	}
	var f *os.File
	switch op, word := args[1], args[2]; {
	case strings.HasSuffix(op, "&") && word == "-":
	case strings.HasSuffix(op, "&"):
		f, err = s.duplicate(hc, word)
	case op == ">", op == ">|":
		f, err = s.openFile(hc, word, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	case op == ">>":
		f, err = s.openFile(hc, word, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
	case op == "<":
		f, err = s.openFile(hc, word, os.O_RDONLY)
	case op == "<>":
		f, err = s.openFile(hc, word, os.O_RDWR|os.O_CREATE)
	default:
		err = errors.ErrUnsupported
	}
	if err != nil {
		fmt.Fprintf(hc.Stderr, "%s: %v\n", s.name, err)
		return interp.ExitStatus(2)
	}
	if old != nil && !save {
		old.Close()
	}
	delete(s.fds, n)
	if f != nil {
		s.fds[n] = f
	}
	return nil
}

// restore reverts the last redirection of a descriptor from 3 on, and keeps the status.
func (s *shell) restore(hc interp.HandlerContext) error {
	last := s.saved[len(s.saved)-1]
	s.saved = s.saved[:len(s.saved)-1]
	if f := s.fds[last.number]; f != nil && f != last.f {
		f.Close()
	}
	delete(s.fds, last.number)
	if last.f != nil {
		s.fds[last.number] = last.f
	}
	return exitStatus(hc.LastExitStatus)
}

// stdinIsOwn reports whether a command has the same input as the shell.
func (s *shell) stdinIsOwn(hc interp.HandlerContext) bool { return file(hc.Stdin) == os.Stdin }

// inherit moves the files of a command to their descriptors in this process.
func (s *shell) inherit(hc interp.HandlerContext) error {
	stdin, err := s.wholeInput(hc)
	if err != nil {
		return err
	}
	files := map[int]*os.File{0: stdin, 1: file(hc.Stdout), 2: file(hc.Stderr)}
	for n, f := range s.fds {
		files[n] = f
	}
	// A file may have a number that another one gets, so all move out of the way first.
	moved := map[int]int{}
	for n, f := range files {
		if f == nil {
			moved[n] = -1
			continue
		}
		if moved[n], err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, maxInherited+1); err != nil {
			return err
		}
	}
	for n, fd := range moved {
		if fd < 0 {
			err = unix.Close(n)
		} else {
			err = unix.Dup3(fd, n, 0)
		}
		if err != nil {
			return err
		}
		if n < 3 && fd >= 0 {
			if err := unix.SetNonblock(n, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// wholeInput returns the input of a program that replaces this process. A goroutine of this process writes a here-document,
// so its text is read first.
func (s *shell) wholeInput(hc interp.HandlerContext) (*os.File, error) {
	f := file(hc.Stdin)
	if f == nil || f == os.Stdin || s.isPipe[f] {
		return f, nil
	}
	stat, err := f.Stat()
	if err != nil || stat.Mode()&fs.ModeNamedPipe == 0 {
		return f, err
	}
	fd, err := unix.MemfdCreate("input", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	memory := os.NewFile(uintptr(fd), "input")
	if _, err := io.Copy(memory, f); err != nil {
		return nil, err
	}
	_, err = memory.Seek(0, io.SeekStart)
	return memory, err
}

func execve(file string, args, env []string) error { return syscall.Exec(file, args, env) }

func waitStatus(exit interface{ Sys() any }) syscall.WaitStatus {
	status, _ := exit.Sys().(syscall.WaitStatus)
	return status
}
