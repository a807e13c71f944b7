package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pix/protocol"
	"pix/wire"
)

// A narStream parses an unframed archive in pieces of any size, to find its end, or an error
// message of the daemon in its middle. The hash of the archive proves its contents. So the
// parser only recognises strings, counts parentheses, and distinguishes lengths from the kind
// of an error message.
type narStream struct {
	size     uint64 // size of the archive, or 0 if unknown
	consumed uint64

	depth int    // number of open parentheses
	free  string // the tag before the current string, if that string is arbitrary

	word       [wire.WordSize]byte // the length that is being read
	wordLen    int                 // number of bytes in word
	stringLeft uint64              // remaining bytes of the string, with padding
	tag        [maxTag]byte        // the current string, if it is a tag
	tagLen     int
	isTag      bool
}

// maxTag is the length in bytes of the longest tag of the format, with padding.
const maxTag = 16

// maxName is the largest length in bytes of a name or of the target of a symlink. Old daemons
// have only the limits of the file system.
const maxName = 64 << 10

var (
	errArchiveEnds = errors.New("the archive has ended")
	errInArchive   = errors.New("the daemon failed in the middle of the archive")
)

// consume parses p. It returns the number of bytes of p that belong to the archive. The error
// is nil if the archive continues, errArchiveEnds at its end, and errInArchive if an error
// message follows whose kind was in p. Any other error breaks the connection.
func (s *narStream) consume(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		m := 0
		if s.stringLeft > 0 {
			m, err = s.consumeString(p[n:])
		} else {
			m, err = s.consumeLength(p[n:])
		}
		n += m
	}
	s.consumed += uint64(n)
	return n, err
}

// consumeLength parses a part of the length of a string.
func (s *narStream) consumeLength(p []byte) (n int, err error) {
	n = copy(s.word[s.wordLen:], p)
	if s.wordLen += n; s.wordLen < len(s.word) {
		return n, nil
	}
	s.wordLen = 0
	length := binary.LittleEndian.Uint64(s.word[:])
	if err := s.checkLength(length); err != nil {
		return n, err
	}
	s.isTag, s.tagLen = s.free == "", 0
	s.stringLeft = length + uint64(wire.PaddingLen(length))
	if s.stringLeft == 0 {
		return n, s.finishString()
	}
	return n, nil
}

func (s *narStream) checkLength(length uint64) error {
	limit := uint64(maxTag)
	switch {
	case s.free == "contents" && s.size > 0:
		limit = s.size // contents cannot be longer than the archive
	case s.free == "contents":
		limit = 1<<63 - 1
	case s.free != "":
		limit = maxName
	}
	if length <= limit {
		return nil
	}
	if protocol.MessageKind(length) == protocol.MessageError {
		return errInArchive
	}
	return &protocol.Error{What: "archive", Offset: -1, Err: fmt.Errorf("a string of %d bytes", length)}
}

// consumeString parses a part of a string.
func (s *narStream) consumeString(p []byte) (n int, err error) {
	n = int(min(s.stringLeft, uint64(len(p))))
	if s.isTag {
		s.tagLen += copy(s.tag[s.tagLen:], p[:n])
	}
	if s.stringLeft -= uint64(n); s.stringLeft > 0 {
		return n, nil
	}
	return n, s.finishString()
}

// finishString updates the state after a complete string.
func (s *narStream) finishString() error {
	if !s.isTag {
		s.free = ""
		return nil
	}
	length := binary.LittleEndian.Uint64(s.word[:])
	switch tag := string(s.tag[:length]); tag {
	case "(":
		s.depth++
	case ")":
		if s.depth--; s.depth <= 0 {
			return errArchiveEnds
		}
	case "contents", "name", "target":
		s.free = tag
	}
	return nil
}
