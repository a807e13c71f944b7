// Package spool stores a stream whose size must be known before it can be sent.
package spool

import (
	"bytes"
	"io"
	"os"
)

// memory is the size in bytes up to which the contents stay in memory.
const memory = 1 << 20

// A File is written once, and then read once, or repeatedly with ReadAt. A large one is a temporary file without a name. The zero value
// is ready to use, and so is a File after Close.
type File struct {
	buf  bytes.Buffer
	file *os.File // nil as long as the contents fit in memory
	size int64
}

// Size returns the number of bytes written.
func (f *File) Size() int64 { return f.size }

// Write implements io.Writer.
func (f *File) Write(p []byte) (n int, err error) {
	defer func() { f.size += int64(n) }()
	if f.file == nil && f.buf.Len()+len(p) <= memory {
		return f.buf.Write(p)
	}
	if f.file == nil {
		if err := f.create(); err != nil {
			return 0, err
		}
	}
	return f.file.Write(p)
}

// create moves the contents to a temporary file, and removes its name, so that the file does not remain
// even if the process is killed.
func (f *File) create() error {
	file, err := os.CreateTemp("", "pix-spool-*")
	if err != nil {
		return err
	}
	f.file = file
	os.Remove(file.Name()) // some systems cannot remove an open file: Close tries again
	_, err = f.buf.WriteTo(file)
	f.buf = bytes.Buffer{}
	return err
}

// Rewind ends writing. The next Read begins at the first byte.
func (f *File) Rewind() error {
	if f.file == nil {
		return nil
	}
	_, err := f.file.Seek(0, io.SeekStart)
	return err
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	if f.file != nil {
		return f.file.Read(p)
	}
	return f.buf.Read(p)
}

// ReadAt implements io.ReaderAt. It may be called concurrently, but not after Read or Close.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	if f.file != nil {
		return f.file.ReadAt(p, offset)
	}
	contents := f.buf.Bytes()
	if offset >= int64(len(contents)) {
		return 0, io.EOF
	}
	n := copy(p, contents[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close removes the contents and the temporary file.
func (f *File) Close() error {
	f.buf.Reset()
	f.size = 0
	file := f.file
	if file == nil {
		return nil
	}
	f.file = nil
	err := file.Close()
	os.Remove(file.Name())
	return err
}
