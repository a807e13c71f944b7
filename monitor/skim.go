package monitor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"pix/wire"
)

// A skimmer finds the end of a body without holding it. It gets the bytes in pieces of any size.
type skimmer interface {
	// consume reads bytes up to the end of the body, and returns their number. It passes the
	// bytes of the contents to contents.
	consume(b []byte, contents func([]byte)) (n int, done bool, err error)
	// size returns the number of bytes read so far, with all headers and padding.
	size() int64
}

// A word collects the bytes of a number.
type word struct {
	bytes [wire.WordSize]byte
	have  int
}

// add reads bytes of the number. It returns how many, and whether the number is complete.
func (w *word) add(b []byte) (n int, done bool) {
	n = copy(w.bytes[w.have:], b)
	w.have += n
	return n, w.have == len(w.bytes)
}

func (w *word) value() uint64 {
	w.have = 0
	return binary.LittleEndian.Uint64(w.bytes[:])
}

// A frameSkimmer reads frames up to the one of length zero.
type frameSkimmer struct {
	head  word
	left  uint64 // of the current frame
	total int64
}

func (s *frameSkimmer) size() int64 { return s.total }

func (s *frameSkimmer) consume(b []byte, contents func([]byte)) (n int, done bool, err error) {
	defer func() { s.total += int64(n) }()
	for n < len(b) {
		if s.left > 0 {
			m := int(min(s.left, uint64(len(b)-n)))
			contents(b[n : n+m])
			n, s.left = n+m, s.left-uint64(m)
			continue
		}
		m, complete := s.head.add(b[n:])
		if n += m; !complete {
			break
		}
		s.left = s.head.value()
		if s.left == 0 {
			return n, true, nil
		}
		if s.left > math.MaxUint32 {
			return n, false, fmt.Errorf("a frame of %d bytes", s.left)
		}
	}
	return n, false, nil
}

// A stringSkimmer reads one string.
type stringSkimmer struct {
	head    word
	started bool
	left    uint64
	padding uint64
	total   int64
}

func (s *stringSkimmer) size() int64 { return s.total }

func (s *stringSkimmer) consume(b []byte, contents func([]byte)) (n int, done bool, err error) {
	defer func() { s.total += int64(n) }()
	if !s.started {
		m, complete := s.head.add(b)
		if n += m; !complete {
			return n, false, nil
		}
		s.started, s.left = true, s.head.value()
		s.padding = uint64(wire.PaddingLen(s.left))
	}
	if m := int(min(s.left, uint64(len(b)-n))); m > 0 {
		contents(b[n : n+m])
		n, s.left = n+m, s.left-uint64(m)
	}
	m := int(min(s.padding, uint64(len(b)-n)))
	n, s.padding = n+m, s.padding-uint64(m)
	return n, s.left == 0 && s.padding == 0, nil
}

// A narSkimmer finds the end of an archive. It knows which words have a value, and counts
// parentheses; it does not check the grammar any further.
type narSkimmer struct {
	head    word
	inText  bool
	isValue bool   // the current string is a name, a target, contents …
	length  uint64 // of the current string
	left    uint64 // of the current string with its padding
	token   [maxToken]byte
	have    int
	begun   bool // the first word was read
	depth   int64
	total   int64
}

// maxToken is longer than every word of the grammar.
const maxToken = 16

var (
	errNoArchive = errors.New("it is not an archive")
	narValues    = map[string]bool{"type": true, "executable": true, "contents": true, "target": true, "name": true}
)

func (s *narSkimmer) size() int64 { return s.total }

func (s *narSkimmer) consume(b []byte, contents func([]byte)) (n int, done bool, err error) {
	defer func() {
		if s.total += int64(n); n > 0 {
			contents(b[:n])
		}
	}()
	for n < len(b) {
		if !s.inText {
			m, complete := s.head.add(b[n:])
			if n += m; !complete {
				break
			}
			if err := s.open(s.head.value()); err != nil {
				return n, false, err
			}
		}
		m := int(min(s.left, uint64(len(b)-n)))
		if !s.isValue {
			s.have += copy(s.token[s.have:], b[n:n+m])
		}
		n, s.left = n+m, s.left-uint64(m)
		if s.left > 0 {
			continue
		}
		if done, err := s.close(); done || err != nil {
			return n, done, err
		}
	}
	return n, false, nil
}

// open begins a string.
func (s *narSkimmer) open(length uint64) error {
	if !s.isValue && length > maxToken || length > math.MaxInt64 {
		return errNoArchive
	}
	s.inText, s.length, s.left, s.have = true, length, length+uint64(wire.PaddingLen(length)), 0
	return nil
}

// close ends a string. It reports whether it was the last one of the archive.
func (s *narSkimmer) close() (done bool, err error) {
	s.inText = false
	if s.isValue {
		s.isValue = false
		return false, nil
	}
	token := string(s.token[:s.length])
	switch {
	case !s.begun:
		if s.begun = true; token != "nix-archive-1" {
			return false, errNoArchive
		}
	case token == "(":
		s.depth++
	case token == ")":
		s.depth--
		return s.depth <= 0, nil
	case narValues[token]:
		s.isValue = true
	case token != "entry" && token != "node":
		return false, errNoArchive
	}
	return false, nil
}
