package nar

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"pix/wire"
)

// writerBuffer is how many bytes a Writer collects before it writes them.
const writerBuffer = 32 << 10

// A Writer writes an archive to a stream, entry by entry, in the order in which a
// [Reader] returns them. It refuses whatever would not be valid, so that what it
// has written is a valid archive if [Writer.Close] returned nil:
//
//	w := nar.NewWriter(f)
//	w.WriteEntry(nar.Entry{Kind: nar.Directory})
//	w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: "hello", Size: 5})
//	io.WriteString(w, "world")
//	err := w.Close()
//
// An error, which is an [*Error] or that of the stream beneath, lasts, and is also
// what Close returns: it is enough to look at that one.
type Writer struct {
	dst    io.Writer
	buf    []byte // encoded and not yet written
	offset int64  // of the end of buf in the archive
	left   uint64 // bytes of contents that are still to come

	entry   Entry // the one written last
	started bool
	depth   int                  // how many directories are open; names[1:depth] leads to the innermost
	names   [MaxDepth + 1]string // names[d] is the last one written at depth d
	err     error
}

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// WriteEntry ends the current entry and begins the next one: first the root, with
// depth 0 and no name, then for each directory its entries, each one deeper than the
// directory and sorted by the bytes of their names. The contents of a file follow
// with [Writer.Write].
func (w *Writer) WriteEntry(e Entry) error {
	if w.err != nil {
		return w.err
	}
	if reason := w.check(&e); reason != "" {
		return w.refuse(reason)
	}
	w.endEntry(e.Depth)
	w.append(func(dst []byte) []byte { return appendNode(dst, &e) })
	w.entry, w.started, w.names[e.Depth] = e, true, e.Name
	switch e.Kind {
	case Directory:
		w.depth, w.names[e.Depth+1] = e.Depth+1, ""
	case Regular:
		w.left = e.Size
	}
	return w.flush(writerBuffer)
}

// check returns why e cannot come next, or "".
func (w *Writer) check(e *Entry) (reason string) {
	switch {
	case w.left > 0:
		return fmt.Sprintf("an entry begins while %d bytes of the contents of %q are missing", w.left, w.entry.Name)
	case !w.started && e.Depth == 0 && e.Name != "":
		return fmt.Sprintf("the root has the name %q, and must have none", shorten(e.Name))
	case !w.started && e.Depth != 0:
		return fmt.Sprintf("the first entry has depth %d, but must be the root", e.Depth)
	case w.started && e.Depth <= 0:
		return "there is a second root"
	case e.Depth >= MaxDepth:
		return fmt.Sprintf("directories are nested more than %d deep", MaxDepth)
	case e.Depth > w.depth:
		return fmt.Sprintf("an entry of depth %d has no directory to lie in", e.Depth)
	}
	if e.Depth > 0 {
		if reason := badName(e.Name); reason != "" {
			return fmt.Sprintf("the name %q %s", shorten(e.Name), reason)
		}
		if last := w.names[e.Depth]; e.Name <= last {
			return fmt.Sprintf("the name %q does not come after %q", e.Name, last)
		}
	}
	return checkNode(e)
}

// checkNode returns why e is not a node that an archive may have, or "".
func checkNode(e *Entry) (reason string) {
	switch e.Kind {
	case Regular, Directory:
	case Symlink:
		if reason := badTarget(e.Target); reason != "" {
			return "the target of a symlink " + reason
		}
	default:
		return fmt.Sprintf("there is no kind of entry with the number %d", uint8(e.Kind))
	}
	if e.Kind != Regular && (e.Executable || e.Size != 0) {
		return fmt.Sprintf("a %s is neither executable nor has it a size", e.Kind)
	}
	if e.Kind != Symlink && e.Target != "" {
		return fmt.Sprintf("a %s has no target", e.Kind)
	}
	return ""
}

// endEntry ends the current entry and the directories that do not hold one of that
// depth.
func (w *Writer) endEntry(depth int) {
	if !w.started {
		return
	}
	w.append(func(dst []byte) []byte {
		if w.entry.Kind != Directory {
			dst = appendEnd(dst, w.entry.Depth)
		}
		for ; w.depth > depth; w.depth-- {
			dst = appendEnd(dst, w.depth-1)
		}
		return dst
	})
}

// Write writes contents of the current file, no more than its size.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if uint64(len(p)) > w.left {
		return 0, w.refuse(fmt.Sprintf("the contents of %q are longer than the size of %d that was announced", w.entry.Name, w.entry.Size))
	}
	if len(p) == 0 {
		return 0, nil
	}
	w.left -= uint64(len(p))
	if len(w.buf)+len(p) <= writerBuffer {
		w.append(func(dst []byte) []byte { return append(dst, p...) })
	} else if err := w.writeThrough(p); err != nil {
		return 0, err
	}
	if w.left == 0 {
		w.append(func(dst []byte) []byte { return wire.AppendPadding(dst, w.entry.Size) })
	}
	return len(p), nil
}

// writeThrough writes what is buffered and p, which is not copied.
func (w *Writer) writeThrough(p []byte) error {
	if err := w.flush(0); err != nil {
		return err
	}
	if _, err := w.dst.Write(p); err != nil {
		w.err = err
		return err
	}
	w.offset += int64(len(p))
	return nil
}

// passed notes that n bytes of the current contents have got to where they belong by other
// means. What is buffered must have been written before.
func (w *Writer) passed(n int) {
	w.left -= uint64(n)
	w.offset += int64(n)
	if w.left == 0 {
		w.append(func(dst []byte) []byte { return wire.AppendPadding(dst, w.entry.Size) })
	}
}

// Close ends the archive and writes what is still buffered. It does not close what
// is written to.
func (w *Writer) Close() error {
	switch {
	case w.err == errClosed:
		return nil
	case w.err != nil:
		return w.err
	case !w.started:
		return w.refuse("the archive has no root")
	case w.left > 0:
		return w.refuse(fmt.Sprintf("%d bytes of the contents of %q are missing", w.left, w.entry.Name))
	}
	w.endEntry(0)
	if err := w.flush(0); err != nil {
		return err
	}
	w.err = errClosed
	return nil
}

var errClosed = errors.New("nar: the archive is closed")

// append lets f append to the buffer.
func (w *Writer) append(f func(dst []byte) []byte) {
	before := len(w.buf)
	w.buf = f(w.buf)
	w.offset += int64(len(w.buf) - before)
}

// flush writes the buffer if it holds more than most bytes.
func (w *Writer) flush(most int) error {
	if len(w.buf) <= most {
		return nil
	}
	if _, err := w.dst.Write(w.buf); err != nil {
		w.err = err
		return err
	}
	w.buf = w.buf[:0]
	return nil
}

func (w *Writer) refuse(reason string) error {
	path := strings.Join(w.names[min(1, w.entry.Depth):w.entry.Depth+1], "/")
	w.err = &Error{Offset: w.offset, Path: path, Reason: reason}
	return w.err
}
