package builtins

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"pix/internal/compression"
	"pix/nar"
)

// fetchurl downloads a file, or an archive that it restores.
//
// Source: src/libstore/builtins/fetchurl.cc in Nix.
func fetchurl(ctx context.Context, in *Input, log *logger) error {
	out, err := in.output("fetchurl")
	if err != nil {
		return err
	}
	if !in.Networked {
		return errors.New("'builtin:fetchurl' must be a fixed-output or impure derivation")
	}
	url, err := in.attribute("url")
	if err != nil {
		return err
	}
	d, err := newDownloader(in, log)
	if err != nil {
		return err
	}
	defer d.close()
	f := &fetch{downloader: d, out: out, unpack: in.Env["unpack"] == "1", executable: in.Env["executable"] == "1"}
	f.xz = f.unpack && strings.HasSuffix(url, ".xz")
	if in.FileHash != "" {
		for _, mirror := range in.HashedMirrors {
			err := f.from(ctx, strings.TrimSuffix(mirror, "/")+"/"+in.FileHash)
			if err == nil || ctx.Err() != nil {
				return err
			}
		}
	}
	return f.from(ctx, url)
}

// A fetch is a download to an output.
type fetch struct {
	*downloader
	out                    string
	unpack, xz, executable bool
}

// from makes the output from the file at a URL.
func (f *fetch) from(ctx context.Context, url string) error {
	var err error
	if f.unpack {
		err = f.restore(ctx, url)
	} else {
		err = f.write(ctx, url)
	}
	if err == nil && f.executable {
		err = os.Chmod(f.out, 0o755)
	}
	return err
}

// write writes the file at a URL to the output.
func (f *fetch) write(ctx context.Context, url string) error {
	file, err := os.OpenFile(f.out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err == nil {
		err = f.download(ctx, url, file)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		return &traceError{"writing file \"" + f.out + "\"", err}
	}
	return nil
}

// restore restores the archive at a URL. The download runs on a goroutine and writes to a pipe, because it resumes
// after transient errors.
func (f *fetch) restore(ctx context.Context, url string) error {
	if err := os.RemoveAll(f.out); err != nil { // an attempt with a mirror may have left files
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(f.out))
	if err != nil {
		return err
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, in := io.Pipe()
	downloaded := make(chan error, 1)
	go func() {
		err := f.download(ctx, url, in)
		in.CloseWithError(err) // nil is the end of the file
		downloaded <- err
	}()
	src := io.Reader(body)
	if f.xz {
		src, err = compression.Decode("xz", body, math.MaxUint64)
	}
	if err == nil {
		err = nar.Restore(ctx, root, filepath.Base(f.out), src, nil)
	}
	body.CloseWithError(errRestored)
	cancel()
	if failed := <-downloaded; failed != nil && !errors.Is(failed, errRestored) && !errors.Is(failed, context.Canceled) {
		return failed
	}
	return err
}

// errRestored ends a download after the end of the archive.
var errRestored = errors.New("the archive is restored")
