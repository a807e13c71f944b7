package nar

import (
	"errors"
	"io"
	"iter"

	"pix/wire"
)

// readerBuffer is the size in bytes of the buffer of a Reader that makes its own.
const readerBuffer = 64 << 10

// A Reader reads an archive from a stream, entry by entry, in the order in which
// they stand there: a directory before what lies in it, names sorted by their bytes.
//
// [Reader.Next] goes to the next entry, [Reader.Read] reads the contents of a file.
// An archive is known to be valid when Next has returned io.EOF, and not before.
// Whatever it holds, a Reader needs the same small amount of memory. It may be
// dropped at any point: there is nothing to close.
//
// Every error but io.EOF is an [*Error], and lasts.
type Reader struct {
	src  *wire.Reader
	base int64  // the offset in src at which the archive begins
	left uint64 // bytes of the contents that are still to be read

	grammar grammar
	err     error
}

// NewReader returns a Reader of the archive that comes next in src.
//
// If src is a [*wire.Reader], nothing after the end of the archive is consumed: when
// Next has returned io.EOF, src stands right behind it. From any other reader bytes
// are read ahead. In files and in memory (*os.File, *bytes.Reader, *strings.Reader,
// *io.SectionReader) contents that nobody asks for are not read but skipped.
func NewReader(src io.Reader) *Reader {
	w, ok := src.(*wire.Reader)
	if !ok {
		w = newWireReader(src)
	}
	return &Reader{src: w, base: w.Offset()}
}

func newWireReader(src io.Reader) *wire.Reader {
	if s := seekable(src); s != nil {
		return wire.NewReader(s, skipBuffer)
	}
	return wire.NewReader(src, readerBuffer)
}

// Next passes over what was not read of the contents of the current entry, and
// returns the next entry. At the end of the archive the error is io.EOF.
func (r *Reader) Next() (Entry, error) {
	if r.err == nil && r.grammar.state == inContents {
		r.skipContents()
	}
	for r.err == nil {
		if r.grammar.state == wantSize {
			if r.takeSize(); r.err == nil {
				return r.grammar.entry, nil
			}
			break
		}
		at := r.Offset()
		s, err := r.src.Bytes(r.grammar.limit())
		if err != nil {
			r.fail(err)
			break
		}
		event, reason := r.grammar.take(s)
		switch {
		case reason != "":
			r.refuse(at, reason)
		case event == haveEntry:
			return r.grammar.entry, nil
		case event == haveEnd:
			r.err = io.EOF
		}
	}
	return Entry{}, r.err
}

// All returns an iterator over the entries that are left. An error other than the
// end of the archive is its last pair. The loop may read the contents of each file,
// and may be left at any entry, at which a second loop goes on.
func (r *Reader) All() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for {
			e, err := r.Next()
			if err == io.EOF || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Read reads from the contents of the current entry. At their end, and at once for
// an entry that is no file, it returns io.EOF. It implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.grammar.state != inContents {
		return 0, io.EOF
	}
	if r.left == 0 {
		if r.endContents(); r.err != nil {
			return 0, r.err
		}
		return 0, io.EOF
	}
	if uint64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.src.Read(p)
	r.left -= uint64(n)
	if err != nil && n == 0 {
		r.fail(err)
		return 0, r.err
	}
	return n, nil
}

// Path returns the path of the current entry in the archive, its names joined by
// slashes; "" for the root. It is put together anew with each call.
func (r *Reader) Path() string { return r.grammar.path() }

// Offset returns how many bytes of the archive were read so far.
func (r *Reader) Offset() int64 { return r.src.Offset() - r.base }

func (r *Reader) takeSize() {
	n, err := r.src.Uint64()
	if err != nil {
		r.fail(err)
		return
	}
	r.grammar.takeSize(n, r.Offset())
	r.left = n
}

func (r *Reader) skipContents() {
	if err := r.src.Discard(r.left); err != nil {
		r.fail(err)
		return
	}
	r.left = 0
	r.endContents()
}

func (r *Reader) endContents() {
	if err := r.src.SkipPadding(r.grammar.entry.Size); err != nil {
		r.fail(err)
		return
	}
	r.grammar.endContents()
}

// refuse ends the reading: what stands at that offset is wrong.
func (r *Reader) refuse(at int64, reason string) {
	r.err = &Error{Offset: at, Path: r.grammar.path(), Reason: reason}
}

// fail ends the reading with an error of the stream beneath.
func (r *Reader) fail(err error) {
	e := &Error{Offset: r.Offset(), Path: r.grammar.path(), Reason: "the archive ends too early", Err: io.ErrUnexpectedEOF}
	var w *wire.Error
	if errors.As(err, &w) {
		e.Offset, e.Reason, e.Err = w.Offset-r.base, w.Reason, w.Err
	} else if err != io.EOF {
		e.Reason, e.Err = readingFailed, err
	}
	if e.Err == nil && r.grammar.state == wantMagic {
		e.Reason = notAnArchive
	}
	r.err = e
}
