package nar

import (
	"context"
	"io"
	"os"
	"path/filepath"
)

// smallSize is the size in bytes of the largest file that Dump reads and writes on the caller's goroutine. The goroutine and the
// channels of a pipeline take more time than reading such a file.
const smallSize = 32 << 10

// openSmall opens path if it is a small file. If it cannot be opened, the pipeline finds the error again.
func openSmall(path string) (f openedFile, ok bool) {
	path = filepath.Clean(path)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > smallSize {
		return f, false
	}
	if f, err = openSame(path, info); err != nil {
		return f, false
	}
	if f.size > smallSize { // it has grown
		f.Close()
		return f, false
	}
	return f, true
}

// smallFile dumps a small file and closes it. Its archive fits into one chunk, so no channel of the pipeline is used.
func (d *dumper) smallFile(dst io.Writer, f openedFile) error {
	d.chunk = chunkPool.Get().(*[chunkSize]byte)
	defer chunkPool.Put(d.chunk)
	if err := d.file(f, "", 0); err != nil {
		return err
	}
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if _, err := dst.Write(d.chunk[:d.used]); err != nil {
		return err
	}
	return context.Cause(d.ctx)
}
