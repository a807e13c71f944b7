package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pix/localstore/internal/flock"
	"pix/store"
)

// findTempRoots returns the temporary roots of all processes that live, this one among them, valid or
// not. With tidy, files whose process has ended are removed.
func findTempRoots(ctx context.Context, l layout, tidy bool) ([]store.Root, error) {
	entries, err := os.ReadDir(l.tempRoots())
	if err != nil {
		return nil, ignoreMissing(err)
	}
	var roots []store.Root
	for _, entry := range entries {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		name := entry.Name()
		pid := name[:len(name)-len(strings.TrimLeft(name, "0123456789"))]
		if pid == "" {
			continue // Nix skips hidden files only, and fails with the others
		}
		some, err := tempRootsIn(ctx, l, name, pid, tidy)
		if err != nil {
			return nil, err
		}
		roots = append(roots, some...)
	}
	return roots, nil
}

// tempRootsIn returns the roots in a file. What is no path may be one that is just being written over
// others, unless we hold gc.lock; so it is read again a few times.
func tempRootsIn(ctx context.Context, l layout, name, pid string, tidy bool) (roots []store.Root, err error) {
	const tries = 5
	for try := 1; ; try++ {
		text, err := readTempRoots(ctx, filepath.Join(l.tempRoots(), name), tidy)
		if err != nil {
			return nil, err
		}
		if roots, err = parseTempRoots(l, pid, text); err == nil || try == tries {
			return roots, err
		}
		if err := flock.Sleep(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func parseTempRoots(l layout, pid string, text []byte) (roots []store.Root, err error) {
	for {
		// What is not ended by a zero byte is being written just now.
		line, rest, ok := bytes.Cut(text, []byte{0})
		if !ok {
			return roots, nil
		}
		text = rest
		path, err := l.dir.Parse(string(line))
		if err != nil {
			return nil, fmt.Errorf("temporary root of process %s: %w", pid, err)
		}
		roots = append(roots, store.Root{Link: "{temp:" + pid + "}", Path: path})
	}
}

// readTempRoots returns what a process has written, or nothing if it has ended. That shows in
// the lock, which a process has for as long as it lives.
func readTempRoots(ctx context.Context, name string, tidy bool) (text []byte, err error) {
	flag := os.O_RDONLY
	if tidy {
		flag = os.O_RDWR
	}
	f, err := os.OpenFile(name, flag, 0)
	if errors.Is(err, fs.ErrPermission) && !tidy {
		return nil, nil // nobody collects here; what others need is not for everybody to see
	}
	if err != nil {
		return nil, ignoreMissing(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	stale, err := flock.Try(f, flock.Exclusive)
	if err != nil {
		return nil, err
	}
	if !stale {
		return io.ReadAll(f)
	}
	if !tidy {
		return nil, nil
	}
	say(ctx, "removing stale temporary roots file '%s'", name)
	if err := ignoreMissing(os.Remove(name)); err != nil {
		return nil, err
	}
	_, err = f.WriteString(flock.StaleMark)
	return nil, err
}
