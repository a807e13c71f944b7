package nar

import (
	"encoding/binary"
	"fmt"
	"io"

	"pix/wire"
)

// A Lister checks and lists the archive that is written to it, in pieces of any size.
// It does what a [Reader] does, for those who have a stream only while it goes by:
//
//	lister := nar.NewLister()
//	_, err := io.Copy(io.MultiWriter(file, lister), body)
//	listing, err := lister.Listing()
type Lister struct {
	grammar grammar
	listing listingBuilder
	offset  int64  // of the next byte in the archive
	left    uint64 // bytes of contents that are still to come
	padding int    // and of the padding after them
	partial []byte // of a string that is not complete: its length and what has come of it
	err     error
}

// NewLister returns a Lister.
func NewLister() *Lister { return &Lister{} }

// Write implements io.Writer. Its errors are those of a [Reader], and last; bytes
// after the end of the archive are one of them.
func (l *Lister) Write(p []byte) (int, error) {
	rest := p
	for l.err == nil && len(rest) > 0 {
		switch {
		case l.grammar.state == inContents:
			rest = l.contents(rest)
		case l.grammar.state == atEnd:
			l.refuse(l.offset, "there are bytes after the end of the archive")
		default:
			rest = l.collect(rest)
		}
	}
	return len(p) - len(rest), l.err
}

// Listing returns the listing of the archive, if it is complete.
func (l *Lister) Listing() (*Listing, error) {
	if l.err == nil && l.grammar.state != atEnd {
		return nil, &Error{Offset: l.offset, Path: l.grammar.path(), Reason: "the archive ends too early", Err: io.ErrUnexpectedEOF}
	}
	if l.err != nil {
		return nil, l.err
	}
	return &l.listing.root, nil
}

// collect takes bytes of a number or a string, and the whole once it is complete.
func (l *Lister) collect(p []byte) (rest []byte) {
	n := min(l.wanted()-len(l.partial), len(p))
	l.partial = append(l.partial, p[:n]...)
	l.offset += int64(n)
	if len(l.partial) == wire.WordSize {
		l.takeLength()
	}
	if l.err == nil && len(l.partial) == l.wanted() {
		l.takeString()
	}
	return p[n:]
}

// wanted returns how many bytes the partial string has when it is complete, as far as
// that is known: a length, the string and its padding.
func (l *Lister) wanted() int {
	if len(l.partial) < wire.WordSize {
		return wire.WordSize
	}
	n := binary.LittleEndian.Uint64(l.partial)
	return wire.WordSize + int(n) + wire.PaddingLen(n)
}

// takeLength looks at the number that has come: the length of a string, or, where
// one is due, the size of a file.
func (l *Lister) takeLength() {
	n := binary.LittleEndian.Uint64(l.partial)
	if l.grammar.state != wantSize {
		if limit := l.grammar.limit(); n > uint64(limit) {
			l.refuse(l.offset-wire.WordSize, fmt.Sprintf("the length of a string is %d, more than the limit of %d", n, limit))
		}
		return
	}
	l.grammar.takeSize(n, l.offset)
	l.partial, l.left, l.padding = l.partial[:0], n, wire.PaddingLen(n)
	l.listing.add(l.grammar.entry)
	l.contents(nil)
}

func (l *Lister) takeString() {
	at := l.offset - int64(len(l.partial))
	n := binary.LittleEndian.Uint64(l.partial)
	s, padding := l.partial[wire.WordSize:wire.WordSize+n], l.partial[wire.WordSize+n:]
	l.checkPadding(padding, l.offset-int64(len(padding)))
	if l.err != nil {
		return
	}
	event, reason := l.grammar.take(s)
	if reason != "" {
		l.refuse(at, reason)
	} else if event == haveEntry {
		l.listing.add(l.grammar.entry)
	}
	l.partial = l.partial[:0]
}

// contents passes over contents and takes their padding.
func (l *Lister) contents(p []byte) (rest []byte) {
	n := int(min(l.left, uint64(len(p))))
	l.left -= uint64(n)
	l.offset += int64(n)
	p = p[n:]
	if l.left == 0 {
		n := min(l.padding, len(p))
		l.checkPadding(p[:n], l.offset)
		l.padding -= n
		l.offset += int64(n)
		p = p[n:]
		if l.padding == 0 {
			l.grammar.endContents()
		}
	}
	return p
}

func (l *Lister) checkPadding(padding []byte, at int64) {
	for i, b := range padding {
		if b != 0 {
			l.refuse(at+int64(i), fmt.Sprintf("a padding byte is %#x instead of 0", b))
			return
		}
	}
}

// refuse ends the listing: what stands at that offset is wrong.
func (l *Lister) refuse(at int64, reason string) {
	if l.grammar.state == wantMagic {
		reason = notAnArchive
	}
	l.err = &Error{Offset: at, Path: l.grammar.path(), Reason: reason}
}
