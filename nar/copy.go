package nar

import "io"

// copyBuffer is how many bytes of contents are copied at a time.
const copyBuffer = 128 << 10

// Copy passes the archive that comes next in src on to dst, unchanged, while it
// checks it, and returns its size in bytes. If an error is found, what was written
// until then is the beginning of the archive, and the size that of what was read.
//
// If src is a wire.Reader, it stands right behind the archive afterwards. Errors are
// those of [Reader] and of dst.
func Copy(dst io.Writer, src io.Reader) (size int64, err error) {
	// A valid archive has one spelling only, so what is read and written again is the
	// same.
	r, w := NewReader(src), NewWriter(dst)
	buf := make([]byte, copyBuffer)
	for e, err := range r.All() {
		if err == nil {
			err = w.WriteEntry(e)
		}
		if err == nil {
			err = copyContents(w, r, buf)
		}
		if err != nil {
			return r.Offset(), err
		}
	}
	return r.Offset(), w.Close()
}

// copyContents copies the contents of the current entry.
func copyContents(dst io.Writer, src *Reader, buf []byte) error {
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
