package nar

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"pix/wire"
)

// writerBuffer is the number of bytes that a Writer buffers.
const writerBuffer = 32 << 10

// A Writer writes an archive to a stream, one entry after the other, in the order in which a
// [Reader] returns them. It rejects invalid entries, so the output is a valid archive if
// [Writer.Close] returns nil:
//
//	w := nar.NewWriter(f)
//	w.WriteEntry(nar.Entry{Kind: nar.Directory})
//	w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: "hello", Size: 5})
//	io.WriteString(w, "world")
//	err := w.Close()
//
// The error of a method is an [*Error] or the error of the underlying stream. All later calls,
// including Close, return it again, so it is enough to check the error of Close.
type Writer struct {
	dst    io.Writer
	buf    []byte // encoded and not yet written
	offset int64  // offset of the end of buf in the archive
	left   uint64 // bytes of contents that are not written yet

	entry   Entry // the last entry
	started bool
	depth   int      // number of open directories; names[:depth-1] is the path of the innermost
	names   []string // names[d-1] is the last name written at depth d
	err     error
}

// NewWriter returns a Writer to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// WriteEntry ends the current entry and starts the next one. The first entry is the root,
// with depth 0 and no name. A directory is followed by its entries, whose depth is greater by
// one, sorted by the bytes of their names. A file is followed by its contents, with
// [Writer.Write].
func (w *Writer) WriteEntry(e Entry) error {
	if w.err != nil {
		return w.err
	}
	if reason := w.check(&e); reason != "" {
		return w.fail(reason)
	}
	w.endEntry(e.Depth)
	w.append(func(dst []byte) []byte { return appendNode(dst, &e) })
	w.entry, w.started = e, true
	if e.Depth > 0 {
		w.names = append(w.names[:e.Depth-1], e.Name)
	}
	switch e.Kind {
	case Directory:
		w.depth, w.names = e.Depth+1, append(w.names, "")
	case Regular:
		w.left = e.Size
	}
	return w.flush(writerBuffer)
}

// check returns why e is not valid as the next entry, or "" if it is.
func (w *Writer) check(e *Entry) (reason string) {
	switch {
	case w.left > 0:
		return fmt.Sprintf("an entry begins while %d bytes of the contents of %q are missing", w.left, w.entry.Name)
	case !w.started && e.Depth == 0 && e.Name != "":
		return fmt.Sprintf("the root has the name %q, but must not have one", shorten(e.Name))
	case !w.started && e.Depth != 0:
		return fmt.Sprintf("the first entry has depth %d, but must be the root", e.Depth)
	case w.started && e.Depth <= 0:
		return "there is a second root"
	case e.Depth >= MaxDepth:
		return fmt.Sprintf("directories are nested more than %d deep", MaxDepth)
	case e.Depth > w.depth:
		return fmt.Sprintf("an entry of depth %d does not follow a directory of depth %d", e.Depth, e.Depth-1)
	}
	if e.Depth > 0 {
		if reason := checkName(e.Name); reason != "" {
			return fmt.Sprintf("the name %q %s", shorten(e.Name), reason)
		}
		if last := w.names[e.Depth-1]; e.Name <= last {
			return fmt.Sprintf("the name %q does not come after %q", e.Name, last)
		}
	}
	return checkNode(e)
}

// checkNode returns why an archive cannot contain the node e, or "" if it can.
func checkNode(e *Entry) (reason string) {
	switch e.Kind {
	case Regular, Directory:
	case Symlink:
		if reason := checkTarget(e.Target); reason != "" {
			return "the target of a symlink " + reason
		}
	default:
		return fmt.Sprintf("unknown kind of entry %d", uint8(e.Kind))
	}
	if e.Kind != Regular && (e.Executable || e.Size != 0) {
		return fmt.Sprintf("a %s cannot be executable or have a size", e.Kind)
	}
	if e.Kind != Symlink && e.Target != "" {
		return fmt.Sprintf("a %s cannot have a target", e.Kind)
	}
	return ""
}

// endEntry ends the current entry and all directories that cannot contain an entry of the
// given depth.
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

// Write writes contents of the current file. It fails if they exceed the size of the entry.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if uint64(len(p)) > w.left {
		return 0, w.fail(fmt.Sprintf("the contents of %q are longer than the declared size of %d", w.entry.Name, w.entry.Size))
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

// writeThrough writes the buffer and then p, without copying p.
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

// advance counts n bytes of contents that were written to dst by other means. The buffer must
// be empty.
func (w *Writer) advance(n int) {
	w.left -= uint64(n)
	w.offset += int64(n)
	if w.left == 0 {
		w.append(func(dst []byte) []byte { return wire.AppendPadding(dst, w.entry.Size) })
	}
}

// Close ends the archive and writes the buffer. It does not close the underlying writer.
func (w *Writer) Close() error {
	switch {
	case w.err == errClosed:
		return nil
	case w.err != nil:
		return w.err
	case !w.started:
		return w.fail("the archive has no root")
	case w.left > 0:
		return w.fail(fmt.Sprintf("%d bytes of the contents of %q are missing", w.left, w.entry.Name))
	}
	w.endEntry(0)
	if err := w.flush(0); err != nil {
		return err
	}
	w.err = errClosed
	return nil
}

var errClosed = errors.New("nar: the archive is closed")

// append calls f to append to the buffer.
func (w *Writer) append(f func(dst []byte) []byte) {
	before := len(w.buf)
	w.buf = f(w.buf)
	w.offset += int64(len(w.buf) - before)
}

// flush writes the buffer if it has more than most bytes.
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

func (w *Writer) fail(reason string) error {
	path := strings.Join(w.names[:w.entry.Depth], "/")
	w.err = &Error{Offset: w.offset, Path: path, Reason: reason}
	return w.err
}

// The constant parts of an archive, encoded once.
var (
	magicBytes      = tags(Magic)
	entryBytes      = tags("entry", "(", "name")
	nodeBytes       = tags("node")
	directoryBytes  = tags("(", "type", "directory")
	symlinkBytes    = tags("(", "type", "symlink", "target")
	fileBytes       = tags("(", "type", "regular", "contents")
	executableBytes = tags("(", "type", "regular", "executable", "", "contents")
	endBytes        = tags(")")
)

// maxEntryBytes is an upper limit for the size of an encoded entry without contents.
const maxEntryBytes = MaxNameLen + MaxTargetLen + 256

func tags(list ...string) string {
	var b []byte
	for _, s := range list {
		b = wire.AppendString(b, s)
	}
	return string(b)
}

// appendNode appends an entry up to its contents. For a file the caller must append the
// contents, the padding and [appendEnd]; for a directory the entries and [appendEnd]; for a
// symlink only [appendEnd].
func appendNode(dst []byte, e *Entry) []byte {
	if e.Depth == 0 {
		dst = append(dst, magicBytes...)
	} else {
		dst = append(dst, entryBytes...)
		dst = wire.AppendString(dst, e.Name)
		dst = append(dst, nodeBytes...)
	}
	switch {
	case e.Kind == Directory:
		dst = append(dst, directoryBytes...)
	case e.Kind == Symlink:
		dst = append(dst, symlinkBytes...)
		dst = wire.AppendString(dst, e.Target)
	case e.Executable:
		dst = append(dst, executableBytes...)
		dst = wire.AppendUint64(dst, e.Size)
	default:
		dst = append(dst, fileBytes...)
		dst = wire.AppendUint64(dst, e.Size)
	}
	return dst
}

// appendEnd appends the end of a node of the given depth, and of the entry that contains it.
func appendEnd(dst []byte, depth int) []byte {
	dst = append(dst, endBytes...)
	if depth > 0 {
		dst = append(dst, endBytes...)
	}
	return dst
}
