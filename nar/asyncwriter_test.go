package nar_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"pix/nar"
)

// mixed is an archive of small and large files, with and without padding.
var mixed = archive(nar.Magic, dir(
	in("a", file(strings.Repeat("a", 100))...),
	in("b", file(strings.Repeat("b", 1<<20+3))...),
	in("c", program("c")...),
	in("d", file(strings.Repeat("d", 32<<10))...),
	in("e", file(strings.Repeat("e", 32<<10+1))...),
	in("f", file(strings.Repeat("f", 512<<10))...),
	in("g", link("f")...),
	in("h", file("")...),
))

// A teeFunc is a function that implements io.Writer.
type teeFunc func(p []byte) (int, error)

func (f teeFunc) Write(p []byte) (int, error) { return f(p) }

// The tee receives the whole archive, in order, before Check is called. If it fails, Restore
// returns its error soon. If it panics, Restore panics with the same value.
func TestRestoreTee(t *testing.T) {
	folder := t.TempDir()
	var tee bytes.Buffer
	checked := false
	opts := &nar.RestoreOptions{Tee: &tee, Check: func() error {
		checked = bytes.Equal(tee.Bytes(), mixed)
		return nil
	}}
	src := io.MultiReader(bytes.NewReader(mixed), strings.NewReader("more"))
	if err := nar.Restore(t.Context(), openRoot(t, folder), "x", src, opts); err != nil || !checked {
		t.Fatalf("the tee received %d bytes of %d, %v", tee.Len(), len(mixed), err)
	}
	equal(t, "restored", dump(t, folder+"/x", nil), mixed)

	broken := errors.New("broken")
	for _, after := range []int{0, 50, 1 << 10, 1 << 19, 1<<20 + 1<<19, len(mixed) - 10} {
		for _, panics := range []bool{false, true} {
			n := 0
			opts := &nar.RestoreOptions{Tee: teeFunc(func(p []byte) (int, error) {
				if n += len(p); n > after && panics {
					panic(broken)
				} else if n > after {
					return 0, broken
				}
				return len(p), nil
			})}
			func() {
				var err error
				defer func() {
					if p := recover(); p != nil {
						err, _ = p.(error)
					}
					if err != broken {
						t.Errorf("after %d bytes, %v: %v", after, panics, err)
					}
					if got := names(t, folder); len(got) != 1 {
						t.Errorf("after %d bytes: the directory contains %q", after, got)
					}
				}()
				err = nar.Restore(t.Context(), openRoot(t, folder), "y", bytes.NewReader(mixed), opts)
			}()
		}
	}
}

// An archive that is too long is not restored. The contents of a file that is too long are not
// read.
func TestRestoreMaxSize(t *testing.T) {
	folder := t.TempDir()
	size := uint64(len(mixed))
	for _, most := range []uint64{0, size, size + 1} {
		root := openRoot(t, t.TempDir())
		if err := nar.Restore(t.Context(), root, "x", bytes.NewReader(mixed), &nar.RestoreOptions{MaxSize: most}); err != nil {
			t.Errorf("at most %d bytes: %v", most, err)
		}
	}
	for _, most := range []uint64{1, 100, 1 << 10, 1 << 20} {
		src := bytes.NewReader(mixed)
		err := nar.Restore(t.Context(), openRoot(t, folder), "x", src, &nar.RestoreOptions{MaxSize: most})
		read := uint64(len(mixed) - src.Len())
		if !errors.Is(err, nar.ErrTooLong) || len(names(t, folder)) != 0 || read > most+128<<10 {
			t.Errorf("at most %d bytes: %v after %d bytes; the directory contains %q", most, err, read, names(t, folder))
		}
	}
}
