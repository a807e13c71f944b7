package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pix/protocol"
	"pix/wire"
)

// A narStream follows an archive that comes as it is, in pieces of any size, to know where it
// ends and whether the daemon stops in its midst to say that it failed. Whether the archive
// is the right one its hash tells; so only the strings that it is made of matter here, the
// parentheses among them, and that what stands for a number of bytes is not an error.
type narStream struct {
	size uint64 // of the whole archive, if it is not 0
	read uint64

	depth int    // of parentheses
	free  string // the tag before the current string, if that string may be anything

	word  [wire.WordSize]byte // of the length that is being read
	have  int                 // bytes of it
	left  uint64              // bytes of the string that are still to come, with padding
	tag   [maxTag]byte        // the current string, if it is a tag
	nTag  int
	isTag bool
}

// maxTag is the length in bytes of the longest word of the format, padded.
const maxTag = 16

// maxName is how long a name or a target of a symlink may be, in bytes. Old daemons have no
// limits but those of the file system.
const maxName = 64 << 10

var (
	errArchiveEnds = errors.New("the archive has ended")
	errInArchive   = errors.New("the daemon failed in the midst of the archive")
)

// take goes on with p. It returns how much of p belongs to the archive. The error is nil if
// the archive goes on, errArchiveEnds if it ends there, errInArchive if an error message
// follows, of which the kind was in p; all else breaks the connection.
func (s *narStream) take(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		m := 0
		if s.left > 0 {
			m, err = s.takeString(p[n:])
		} else {
			m, err = s.takeLength(p[n:])
		}
		n += m
	}
	s.read += uint64(n)
	return n, err
}

// takeLength goes on with the length of a string.
func (s *narStream) takeLength(p []byte) (n int, err error) {
	n = copy(s.word[s.have:], p)
	if s.have += n; s.have < len(s.word) {
		return n, nil
	}
	s.have = 0
	length := binary.LittleEndian.Uint64(s.word[:])
	if err := s.checkLength(length); err != nil {
		return n, err
	}
	s.isTag, s.nTag = s.free == "", 0
	s.left = length + uint64(wire.PaddingLen(length))
	if s.left == 0 {
		return n, s.endString()
	}
	return n, nil
}

func (s *narStream) checkLength(length uint64) error {
	limit := uint64(maxTag)
	switch {
	case s.free == "contents" && s.size > 0:
		limit = s.size // what does not fit is no contents
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

// takeString goes on with a string.
func (s *narStream) takeString(p []byte) (n int, err error) {
	n = int(min(s.left, uint64(len(p))))
	if s.isTag {
		s.nTag += copy(s.tag[s.nTag:], p[:n])
	}
	if s.left -= uint64(n); s.left > 0 {
		return n, nil
	}
	return n, s.endString()
}

// endString draws the conclusions from a string that was read.
func (s *narStream) endString() error {
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
