package nar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pix/nar"
)

// Dump writes small files without a pipeline. Their archives are the ones of a pipeline, which DumpFS uses.
func TestDumpSmall(t *testing.T) {
	const limit = 32 << 10
	dir := t.TempDir()
	for _, size := range []int{0, 1, 8, 4099, limit - 1, limit, limit + 1} {
		for _, mode := range []os.FileMode{0o644, 0o755} {
			name := fmt.Sprint(size, mode)
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), mode); err != nil {
				t.Fatal(err)
			}
			var got, want bytes.Buffer
			if err := nar.DumpFS(t.Context(), &want, os.DirFS(dir), name, nil); err != nil {
				t.Fatal(err)
			}
			if err := nar.Dump(t.Context(), &got, path, nil); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%d bytes, mode %o: the archives differ, or %v", size, mode, err)
			}
			full := errors.New("no space")
			if err := nar.Dump(t.Context(), failingWriter{full}, path, nil); err != full {
				t.Errorf("%d bytes: %v, want the error of the writer", size, err)
			}
			ended := errors.New("the caller has gone")
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(ended)
			if err := nar.Dump(ctx, new(bytes.Buffer), path, nil); err != ended {
				t.Errorf("%d bytes: %v, want the cause of the cancellation", size, err)
			}
		}
	}
}

// A failingWriter is a writer whose writes fail.
type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
