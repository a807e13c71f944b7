package cacheserver

import (
	"errors"
	"io"
)

// heldBack is the number of bytes at the end of an archive that are held back until it is verified: its last parenthesis.
const heldBack = 16

var (
	errEnough  = errors.New("the part is complete")
	errTooLong = errors.New("the archive is longer than its path info says")
)

// A sender writes a part of an archive.
type sender struct {
	dst  io.Writer
	left int64 // number of bytes of the part that Write has not received yet
	hold int64 // number of bytes at the end of the part that finish writes
	more bool  // the archive is longer than the part
	held []byte
}

// Write implements io.Writer. After the part, the error is errEnough if the archive is longer, and else errTooLong.
func (s *sender) Write(p []byte) (int, error) {
	some := p[:min(int64(len(p)), s.left)]
	s.left -= int64(len(some))
	direct := int64(len(some))
	if toHold := s.hold - s.left - int64(len(s.held)); toHold > 0 {
		direct -= toHold
		s.held = append(s.held, some[direct:]...)
	}
	if direct > 0 {
		if n, err := s.dst.Write(some[:direct]); err != nil {
			return n, err
		}
	}
	if len(some) == len(p) {
		return len(p), nil
	}
	if s.more {
		return len(some), errEnough
	}
	return len(some), errTooLong
}

// finish completes the part if its reader had no error. Its error is the one of the reader or the writer, or
// [io.ErrUnexpectedEOF] if bytes are missing.
func (s *sender) finish(err error) error {
	switch {
	case err != nil && err != errEnough:
		return err
	case s.left > 0:
		return io.ErrUnexpectedEOF
	}
	_, err = s.dst.Write(s.held)
	return err
}
