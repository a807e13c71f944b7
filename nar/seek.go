package nar

import (
	"bytes"
	"io"
	"os"
	"strings"
)

// skipBuffer is how many bytes are read at a time from a source that can be skipped:
// the tags of a few entries. The more there are, the more is read in vain.
const skipBuffer = 8 << 10

// A seekSource is a source in which contents can be passed over without reading them.
// It is a wire.Skipper.
type seekSource struct {
	io.ReadSeeker
	left uint64 // bytes that are known to be there
}

// seekable returns src as a seekSource if it is one of those in which seeking is sure
// to be possible and cheap, otherwise nil.
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

// Skip passes over n bytes. Where they may not all be there, they are read.
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
