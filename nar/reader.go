package nar

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"os"
	"strings"
	"sync"

	"pix/wire"
)

// readerBuffer is the buffer size of a Reader in bytes, unless it reads a wire.Reader.
const readerBuffer = 64 << 10

// A Reader reads the entries of an archive from a stream, in the order of the archive: a
// directory comes before its entries, and these are sorted by the bytes of their names.
//
// [Reader.Next] advances to the next entry, [Reader.Read] reads the contents of a file. The
// archive is valid only if Next has returned io.EOF. The memory that a Reader needs does not
// depend on the archive. A Reader does not have to be closed.
//
// Every error except io.EOF is an [*Error]. After an error, all later calls return it again.
type Reader struct {
	src  *wire.Reader
	base int64  // offset in src at which the archive begins
	left uint64 // unread bytes of the contents

	grammar grammar
	err     error
}

// NewReader returns a Reader of the next archive in src.
//
// If src is a [*wire.Reader], the Reader consumes nothing after the end of the archive: when
// Next returns io.EOF, src is positioned directly after it. It reads ahead from any other
// src. If src is an *os.File, a *bytes.Reader, a *strings.Reader or an *io.SectionReader,
// contents that the caller does not read are skipped without reading them.
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

// wireReaders has readers with buffers of readerBuffer bytes. A store has mostly archives that are smaller than such
// a buffer, so allocating one for each archive is most of the garbage of a copy.
var wireReaders = sync.Pool{New: func() any { return wire.NewReader(nil, readerBuffer) }}

// borrowReader is [NewReader] with a buffer that is used again. The Reader must not be used after release.
func borrowReader(src io.Reader) (r *Reader, release func()) {
	if _, ok := src.(*wire.Reader); ok || seekable(src) != nil {
		return NewReader(src), func() {}
	}
	w := wireReaders.Get().(*wire.Reader)
	w.Reset(src)
	return &Reader{src: w}, func() {
		w.Reset(nil)
		wireReaders.Put(w)
	}
}

// Next skips the unread contents of the current entry and returns the next entry. At the end
// of the archive it returns io.EOF.
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
			r.malformed(at, reason)
		case event == haveEntry:
			return r.grammar.entry, nil
		case event == haveEnd:
			r.err = io.EOF
		}
	}
	return Entry{}, r.err
}

// All returns an iterator over the remaining entries. If the archive is not valid, the last
// pair has the error. The loop may read the contents of each file. After a break, a second
// loop continues with the next entry.
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

// Read reads the contents of the current entry. It returns io.EOF at their end, and
// immediately if the entry is not a file. It implements io.Reader.
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

// Path returns the path of the current entry in the archive, separated by slashes, or "" for
// the root. Each call allocates a new string.
func (r *Reader) Path() string { return r.grammar.path() }

// Offset returns the number of bytes of the archive that were read so far.
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

// malformed sets the error: the archive is not valid at that offset.
func (r *Reader) malformed(at int64, reason string) {
	r.err = &Error{Offset: at, Path: r.grammar.path(), Reason: reason}
}

// fail sets the error to an error of the underlying stream.
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

// skipBuffer is the buffer size in bytes for sources that can skip: enough for the tags of a
// few entries. A larger buffer would read more contents that are then skipped.
const skipBuffer = 8 << 10

// A seekSource is a source that skips contents by seeking. It implements wire.Skipper.
type seekSource struct {
	io.ReadSeeker
	left uint64 // bytes that are known to exist
}

// seekable returns src as a seekSource if it has a type for which seeking is known to be
// possible and cheap, otherwise nil.
func seekable(src io.Reader) *seekSource {
	var s io.ReadSeeker
	switch src := src.(type) {
	case *bytes.Reader:
		return &seekSource{src, uint64(src.Len())}
	case *strings.Reader:
		return &seekSource{src, uint64(src.Len())}
	case *io.SectionReader:
		s = src
	case *os.File:
		if info, err := src.Stat(); err != nil || !info.Mode().IsRegular() {
			return nil
		}
		s = src
	default:
		return nil
	}
	at, err1 := s.Seek(0, io.SeekCurrent)
	end, err2 := s.Seek(0, io.SeekEnd)
	if _, err := s.Seek(at, io.SeekStart); err != nil || err1 != nil || err2 != nil || at > end {
		return nil
	}
	return &seekSource{s, uint64(end - at)}
}

func (s *seekSource) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	s.left -= min(s.left, uint64(n)) // a file may have grown
	return n, err
}

// Skip skips n bytes. If they may not all exist, it reads them.
func (s *seekSource) Skip(n uint64) error {
	if n > s.left {
		got, err := io.CopyN(io.Discard, s, int64(min(n, 1<<62)))
		if err == nil && uint64(got) < n {
			err = io.EOF
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	s.left -= n
	_, err := s.Seek(int64(n), io.SeekCurrent)
	return err
}
