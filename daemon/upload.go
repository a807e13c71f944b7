package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"strings"

	"pix/internal/parallel"
	"pix/internal/spool"
	"pix/nar"
)

// A body writes the contents that follow a request. When over is closed, it stops and returns
// errStopped. Any other error comes from w, or is a [*bodyError].
type body func(w io.Writer, over <-chan struct{}) error

// errStopped ends a body whose call is over: the daemon has answered, or the caller has gone.
var errStopped = errors.New("the call is over")

// A bodyError says that the caller's reader or sequence failed, or returned malformed contents.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading what was to be uploaded: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// run runs the body. A panic is a [*bodyError] of a [*parallel.PanicError].
func (b body) run(w io.Writer, over <-chan struct{}) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &bodyError{&parallel.PanicError{Value: p, Stack: debug.Stack()}}
		}
	}()
	return b(w, over)
}

// errMiscount is the panic of a call whose reader returns a negative count from Read, or one larger than
// the buffer. The contents are unknown then, and the count would leave the bounds of the buffer.
var errMiscount = errors.New("the reader of an upload returned an invalid count from Read")

// A source is the caller's reader. It does not call Read of r once over is closed. Its errors are
// errStopped and [*bodyError].
type source struct {
	r    io.Reader
	over <-chan struct{}
}

func (s source) Read(p []byte) (int, error) {
	if isClosed(s.over) {
		return 0, errStopped
	}
	n, err := s.r.Read(p)
	if n < 0 || n > len(p) {
		panic(errMiscount)
	}
	if err != nil && err != io.EOF {
		err = &bodyError{err}
	}
	return n, err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// spoolAll reads the caller's reader to its end, until ctx ends. The caller closes the file.
func spoolAll(ctx context.Context, r io.Reader) (_ *spool.File, err error) {
	file := new(spool.File)
	read := false
	defer func() {
		if !read { // also after a panic of the reader
			file.Close()
		}
	}()
	_, err = io.Copy(file, source{r, ctx.Done()})
	if err == errStopped {
		err = ended(ctx, "reading what was to be uploaded")
	}
	if err == nil {
		err = file.Rewind()
	}
	if err != nil {
		return nil, err
	}
	read = true
	return file, nil
}

// maxText is how many bytes a text may have that is read into memory. A client of a proxy may
// send any number of them.
const maxText = 64 << 20

// readText reads the caller's reader into memory, until ctx ends.
func readText(ctx context.Context, r io.Reader) (string, error) {
	var text strings.Builder
	n, err := io.Copy(&text, io.LimitReader(source{r, ctx.Done()}, maxText+1))
	if err == errStopped {
		err = ended(ctx, "reading what was to be uploaded")
	}
	if err == nil && n > maxText {
		err = &bodyError{fmt.Errorf("the daemon takes a text in one piece, and this one has more than %d MiB", maxText>>20)}
	}
	if err != nil {
		return "", err
	}
	return text.String(), nil
}

// fileArchive is a body of the archive of a file with those contents.
func fileArchive(contents *spool.File) body {
	return func(w io.Writer, over <-chan struct{}) error {
		archive := nar.NewWriter(w)
		archive.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(contents.Size())})
		if _, err := io.Copy(archive, source{contents, over}); err != nil {
			return err
		}
		return archive.Close()
	}
}

// all is a body with everything that r returns.
func all(r io.Reader) body {
	return func(w io.Writer, over <-chan struct{}) error {
		_, err := io.Copy(w, source{r, over})
		return err
	}
}

// archive is a body with the archive in r, and nothing after it: the daemon would read further bytes as
// something else. size is its length in bytes, or 0 if it is not known.
func archive(r io.Reader, size uint64) body {
	if size == 0 || size > math.MaxInt64-1 {
		return func(w io.Writer, over <-chan struct{}) error { return copyArchive(w, source{r, over}) }
	}
	return func(w io.Writer, over <-chan struct{}) error {
		n, err := io.Copy(w, io.LimitReader(source{r, over}, int64(size)))
		if err == nil && uint64(n) < size {
			err = &bodyError{fmt.Errorf("the archive ends after %d bytes instead of %d: %w", n, size, io.ErrUnexpectedEOF)}
		}
		return err
	}
}

// copyArchive copies an archive whose size is not known.
func copyArchive(w io.Writer, r io.Reader) error {
	_, err := nar.Copy(w, r)
	var malformed *nar.Error
	var failed *bodyError
	switch {
	case errors.Is(err, errStopped):
		return errStopped
	case errors.As(err, &malformed) && !errors.As(err, &failed):
		return &bodyError{err}
	}
	return err
}
