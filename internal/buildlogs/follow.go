package buildlogs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"pix/storepath"
)

const (
	readInterval  = 100 * time.Millisecond // between two reads at the end of the file
	checkInterval = 500 * time.Millisecond // between two questions whether the build runs
)

// Follow opens the log of a derivation. While the build runs, the end of the file is not the end of the log: a Read waits
// for more, until ctx ends. If the log is missing, Follow waits for it while the build runs. The error is
// [fs.ErrNotExist] if there is no log and no build.
//
// Of a compressed log the text arrives when the writer has filled a block, with bzip2 often only at the end.
func Follow(ctx context.Context, logDir string, drv storepath.Path, running func(context.Context) (bool, error)) (*Log, error) {
	f := &follower{ctx: ctx, logDir: logDir, drv: drv, running: running}
	for {
		file, ext, err := openFile(logDir, drv)
		if err == nil {
			f.file, f.ext = file, ext
			return decode(f, f, file.Name(), ext)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if ended, endErr := f.wait(); endErr != nil || ended {
			return nil, errors.Join(endErr, err)
		}
	}
}

// A follower reads a file that grows.
type follower struct {
	ctx     context.Context
	logDir  string
	drv     storepath.Path
	running func(context.Context) (bool, error)

	file    *os.File
	ext     string
	offset  int64
	checked time.Time // when running was called last
	ended   bool      // the build does not run, so the file does not grow
}

func (f *follower) Read(p []byte) (int, error) {
	for {
		n, err := f.file.Read(p)
		f.offset += int64(n)
		if n > 0 || err != io.EOF {
			return n, err
		}
		if f.ended {
			return 0, io.EOF
		}
		if err := f.reopen(); err != nil {
			return 0, err
		}
		if f.ended, err = f.wait(); err != nil {
			return 0, err
		}
	}
}

// wait waits a moment, and reports whether the build has ended.
func (f *follower) wait() (ended bool, err error) {
	if time.Since(f.checked) >= checkInterval {
		runs, err := f.running(f.ctx)
		if err != nil || !runs {
			return true, err
		}
		f.checked = time.Now()
	}
	select {
	case <-time.After(readInterval):
		return false, nil
	case <-f.ctx.Done():
		return false, context.Cause(f.ctx)
	}
}

// reopen continues with the log of a build that has begun after the file was opened: pix replaces the file, and Nix
// truncates it. A compressed stream cannot continue with another one, so it ends.
func (f *follower) reopen() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < f.offset && f.ext == "" {
		_, err := f.file.Seek(0, io.SeekStart)
		f.offset = 0
		return err
	}
	next, ext, err := openFile(f.logDir, f.drv)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	nextInfo, err := next.Stat()
	if err != nil || ext != "" || f.ext != "" || os.SameFile(info, nextInfo) {
		return errors.Join(err, next.Close())
	}
	err = f.file.Close()
	f.file, f.offset = next, 0
	return err
}

// Close closes the file.
func (f *follower) Close() error { return f.file.Close() }
