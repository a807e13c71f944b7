package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// isStream reports whether an argument names contents and not a file in a directory: - for standard input, a file of /dev
// such as /dev/stdin, or a descriptor of a process as in <(command). Most of these are symlinks, whose targets mean nothing
// outside of this process.
func isStream(file string) bool {
	if file == "-" {
		return true
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return false
	}
	for _, dir := range []string{"/dev/", "/proc/"} {
		if rest, ok := strings.CutPrefix(abs, dir); ok && (dir == "/dev/" || strings.Contains("/"+rest, "/fd/")) {
			info, err := os.Stat(file)
			return err != nil || !info.IsDir()
		}
	}
	return false
}

// openContents opens the contents that an argument names. Reading ends with ctx.
func (a *app) openContents(ctx context.Context, file string) (io.ReadCloser, error) {
	if file == "-" {
		return readAhead(ctx, a.stdin), nil
	}
	return openReader(ctx, file)
}

// openReader opens a file, which may block as a pipe does. Opening and reading end with ctx.
func openReader(ctx context.Context, file string) (io.ReadCloser, error) {
	f, err := openFile(ctx, file)
	if err != nil {
		return nil, err // a nil *os.File in an interface is not nil
	}
	if info, err := f.Stat(); err == nil && (info.Mode().IsRegular() || info.IsDir()) {
		return f, nil
	}
	return &streamFile{readAhead(ctx, f), f}, nil
}

// readContents returns the contents of a file of at most limit bytes. Opening and reading end with ctx.
func readContents(ctx context.Context, file string, limit int64) ([]byte, error) {
	src, err := openReader(ctx, file)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return readUpTo(ctx, src, file, limit)
}

// openFile opens a file for reading, until ctx ends. Opening a named pipe waits until another process opens it for writing.
func openFile(ctx context.Context, name string) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	opened := make(chan result)
	go func() {
		f, err := os.Open(name)
		select {
		case opened <- result{f, err}:
		case <-ctx.Done():
			f.Close()
		}
	}()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// A streamFile is a file that may block, such as a pipe.
type streamFile struct {
	*aheadReader
	file *os.File
}

func (f *streamFile) Close() error { return errors.Join(f.aheadReader.Close(), f.file.Close()) }

// asFile returns a file with the contents of a stream, because the size of a file comes before its contents in an archive.
// An argument that is no stream is returned unchanged. The caller must call remove.
func (a *app) asFile(ctx context.Context, arg string) (file string, remove func(), err error) {
	if !isStream(arg) {
		return arg, func() {}, nil
	}
	src, err := a.openContents(ctx, arg)
	if err != nil {
		return "", nil, err
	}
	defer src.Close()
	dst, err := os.CreateTemp("", "pix-stdin-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { os.Remove(dst.Name()) }
	_, err = io.Copy(dst, src)
	if err = errors.Join(err, dst.Close()); err != nil {
		remove()
		return "", nil, err
	}
	return dst.Name(), remove, nil
}
