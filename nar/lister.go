package nar

import (
	"encoding/binary"
	"fmt"
	"io"

	"pix/wire"
)

// A Lister checks and lists the archive that is written to it, in pieces of any size. Unlike
// a [Reader], it can be combined with other writers:
//
//	lister := nar.NewLister()
//	_, err := io.Copy(io.MultiWriter(file, lister), body)
//	listing, err := lister.Listing()
type Lister struct {
	grammar grammar
	listing listingBuilder
	offset  int64  // offset of the next byte in the archive
	left    uint64 // bytes of contents that have not arrived yet
	padding int    // bytes of the padding after them that have not arrived yet
	partial []byte // the length and a prefix of an incomplete string
	err     error
}

// NewLister returns a Lister.
func NewLister() *Lister { return &Lister{} }

// Write implements io.Writer. It returns an [*Error] if the archive is not valid, or if there
// are bytes after its end. All later calls return the same error.
func (l *Lister) Write(p []byte) (int, error) {
	rest := p
	for l.err == nil && len(rest) > 0 {
		switch {
		case l.grammar.state == inContents:
			rest = l.contents(rest)
		case l.grammar.state == atEnd:
			l.malformed(l.offset, "there are bytes after the end of the archive")
		default:
			rest = l.collect(rest)
		}
	}
	return len(p) - len(rest), l.err
}

// Listing returns the listing of the archive, or an [*Error] if it is not valid or not
// complete.
func (l *Lister) Listing() (*Listing, error) {
	if l.err == nil && l.grammar.state != atEnd {
		return nil, &Error{Offset: l.offset, Path: l.grammar.path(), Reason: "the archive ends too early", Err: io.ErrUnexpectedEOF}
	}
	if l.err != nil {
		return nil, l.err
	}
	return &l.listing.root, nil
}

// collect adds bytes to the incomplete number or string, and takes it when it is complete.
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

// wanted returns the length of the complete string with its own length and padding. Until
// its length is known, that is the length of the number.
func (l *Lister) wanted() int {
	if len(l.partial) < wire.WordSize {
		return wire.WordSize
	}
	n := binary.LittleEndian.Uint64(l.partial)
	return wire.WordSize + int(n) + wire.PaddingLen(n)
}

// takeLength takes a complete number: the length of a string, or the size of a file.
func (l *Lister) takeLength() {
	n := binary.LittleEndian.Uint64(l.partial)
	if l.grammar.state != wantSize {
		if limit := l.grammar.limit(); n > uint64(limit) {
			l.malformed(l.offset-wire.WordSize, fmt.Sprintf("the length of a string is %d, more than the limit of %d", n, limit))
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
		l.malformed(at, reason)
	} else if event == haveEntry {
		l.listing.add(l.grammar.entry)
	}
	l.partial = l.partial[:0]
}

// contents skips contents and checks their padding.
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
			l.malformed(at+int64(i), fmt.Sprintf("a padding byte is %#x instead of 0", b))
			return
		}
	}
}

// malformed sets the error: the archive is not valid at that offset.
func (l *Lister) malformed(at int64, reason string) {
	if l.grammar.state == wantMagic {
		reason = notAnArchive
	}
	l.err = &Error{Offset: at, Path: l.grammar.path(), Reason: reason}
}
