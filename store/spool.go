package store

import (
	"bytes"
	"io"
	"os"
)

// spooledInMemory is the size in bytes up to which a spool needs no file.
const spooledInMemory = 1 << 20

// A spool keeps a stream that is read later: in memory if it is small, else in a temporary
// file that nobody else sees.
type spool struct {
	memory bytes.Buffer
	file   *os.File // nil as long as it is small
}

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.memory.Len()+len(p) <= spooledInMemory {
		return s.memory.Write(p)
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "pix-spool-*")
		if err != nil {
			return 0, err
		}
		s.file = f
		os.Remove(f.Name()) // where the system does not let it go yet, close tries again
		if _, err := s.memory.WriteTo(f); err != nil {
			return 0, err
		}
	}
	return s.file.Write(p)
}

// rewind ends writing, and makes Read begin.
func (s *spool) rewind() error {
	if s.file == nil {
		return nil
	}
	_, err := s.file.Seek(0, io.SeekStart)
	return err
}

// Read implements io.Reader.
func (s *spool) Read(p []byte) (int, error) {
	if s.file != nil {
		return s.file.Read(p)
	}
	return s.memory.Read(p)
}

// close lets go of what it keeps, and makes room for another stream.
func (s *spool) close() {
	s.memory.Reset()
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
		s.file = nil
	}
}
